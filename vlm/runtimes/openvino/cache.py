"""Where converted models are kept, so that only a checkpoint's first start converts it.

An entry is a folder named after the checkpoint's content, what was made of it and by what. It
appears whole or not at all, lists its files' checksums, and is made anew where they do not match.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlm.checkpoints.files import CONFIG_FILE, weight_files

VISION_FILE: Final = "vision.xml"
TEXT_FILE: Final = "text.xml"
EMBEDDINGS_FILE: Final = "embeddings.npy"
FACTS_FILE: Final = "facts.json"
_SEAL_FILE: Final = "checksums.json"

# Count it up whenever the converter makes other files of the same checkpoint.
_CONVERTER_VERSION: Final = 2
_READ_BYTES: Final = 1 << 20
# A file may change twice within a tick of the file system's clock, and look the same.
_SETTLED_AFTER_S: Final = 5.0
_ABANDONED_AFTER_S: Final = 24 * 3600.0
_TEMPORARY: Final = ".making-"

_log = logging.getLogger("sightline")

Make = Callable[[Path], None]


def default_cache_folder() -> Path:
    """$SIGHTLINE_CACHE, else `sightline` in the folder that this platform has for caches."""
    if named := os.environ.get("SIGHTLINE_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        root = "~/Library/Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "sightline"


@dataclass(frozen=True)
class Converted:
    """A whole conversion; where it lies in no cache, it goes with `temporary`."""

    folder: Path
    temporary: tempfile.TemporaryDirectory[str] | None = None


def converted(
    checkpoint: Path, variant: str, made_by: str, make: Make, cache_folder: Path
) -> Converted:
    """What `make(folder)` fills a folder with, from the cache or, the first time, made now.

    `variant` says in file name characters what is made of the checkpoint, `made_by` by which
    software. Where the cache folder cannot be written, the conversion is kept for this process
    alone, with a warning in the log. Raises what `make` does, its OSErrors only the second time.
    """
    content = _content(checkpoint, cache_folder)
    entry = _entry(content, variant, made_by, cache_folder)
    if is_whole(entry):
        return Converted(entry)
    try:
        cache_folder.mkdir(parents=True, exist_ok=True)
        _drop(_abandoned(cache_folder))
        _make_whole(entry, make)
        _drop(each for each in cache_folder.glob(f"{content}.{variant}.*") if each != entry)
        return Converted(entry)
    except OSError as error:
        _log.warning(
            "The converted model cannot be kept in %s (%s). Every start will convert it again; "
            "SIGHTLINE_CACHE can name another folder.",
            cache_folder,
            error.strerror or error,
        )
    temporary = tempfile.TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True)
    make(Path(temporary.name))
    return Converted(Path(temporary.name), temporary)


def is_converted(checkpoint: Path, variant: str, made_by: str, cache_folder: Path) -> bool:
    """Whether `converted` will find its files, as far as a glance tells that reads none of them."""
    stamp = [_stamp(file) for file in _content_files(checkpoint)]
    noted = _read_note(_note(checkpoint, cache_folder))
    if noted.get("stamp") != stamp:
        return False
    return _entry(str(noted["content"]), variant, made_by, cache_folder).is_dir()


def seal(folder: Path) -> None:
    """List the sizes and checksums of the files in `folder`, which are complete by now."""
    files = {file.name: [file.stat().st_size, _sha256(file)] for file in folder.iterdir()}
    (folder / _SEAL_FILE).write_text(json.dumps(files), encoding="utf-8")


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds all that was sealed, unchanged."""
    try:
        files = json.loads((folder / _SEAL_FILE).read_text(encoding="utf-8"))
        if any((folder / name).stat().st_size != size for name, (size, _) in files.items()):
            return False
        with ThreadPoolExecutor() as readers:
            sums = readers.map(lambda name: _sha256(folder / name), files)
            return list(sums) == [checksum for _, checksum in files.values()]
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _make_whole(entry: Path, make: Make) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=entry.parent))
    try:
        make(scratch)
        # Another process may have been as far first, and may be using what it made.
        if not is_whole(entry):
            shutil.rmtree(entry, ignore_errors=True)
            with suppress(OSError):
                scratch.rename(entry)
        if not is_whole(entry):
            raise OSError("what was written there is not what is read")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _content(checkpoint: Path, cache_folder: Path) -> str:
    """A name for what configuration and weights of `checkpoint` hold, the same wherever they lie.

    Hashing takes a second a gigabyte, so the hash is noted beside the times and numbers that the
    file system gives to a file; the time of change among them cannot be set back.
    """
    files = _content_files(checkpoint)
    stamp = [_stamp(file) for file in files]
    note = _note(checkpoint, cache_folder)
    noted = _read_note(note)
    if noted.get("stamp") == stamp:
        return str(noted["content"])
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name} {_sha256(file)}\n".encode())
    content = total.hexdigest()[:20]
    newest_ns = max(max(times) for *_, times in stamp)
    if time.time_ns() - newest_ns > _SETTLED_AFTER_S * 1e9:
        with suppress(OSError):
            cache_folder.mkdir(parents=True, exist_ok=True)
            _replace(note, json.dumps({"stamp": stamp, "content": content}))
            if noted.get("content", content) != content:
                _drop(cache_folder.glob(f"{noted['content']}.*"))
    return content


def _content_files(checkpoint: Path) -> list[Path]:
    return [checkpoint / CONFIG_FILE, *weight_files(checkpoint)]


def _note(checkpoint: Path, cache_folder: Path) -> Path:
    place = hashlib.sha256(os.fsencode(checkpoint.resolve())).hexdigest()
    return cache_folder / f"content-{place[:16]}.json"


def _read_note(note: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted


def _entry(content: str, variant: str, made_by: str, cache_folder: Path) -> Path:
    maker = hashlib.sha256(f"{_CONVERTER_VERSION} {made_by}".encode()).hexdigest()
    return cache_folder / f"{content}.{variant}.{maker[:8]}"


def _stamp(file: Path) -> list[Any]:
    status = file.stat()
    # As lists, which is what they come back as from JSON.
    return [file.name, status.st_ino, status.st_size, [status.st_mtime_ns, status.st_ctime_ns]]


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_READ_BYTES):
            total.update(block)
    return total.hexdigest()


def _replace(file: Path, text: str) -> None:
    scratch = file.with_name(f"{_TEMPORARY}{os.getpid()}-{file.name}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def _abandoned(cache_folder: Path) -> Iterator[Path]:
    """What conversions that were killed have left."""
    for left in cache_folder.glob(f"{_TEMPORARY}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
            yield left


def _drop(entries: Iterable[Path]) -> None:
    for entry in entries:
        shutil.rmtree(entry, ignore_errors=True)
