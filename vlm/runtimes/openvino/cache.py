"""The cache of converted models, so that only the first start of a checkpoint converts it.

An entry is a folder whose name holds the checkpoint's content, the variant and the converter. It
appears complete or not at all, and lists the sizes and hashes of its files. A start compares the
sizes and converts again if they differ; `python -m vlm.models check` compares the hashes too.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from vlm.checkpoints.files import CONFIG_FILE, weight_files

VISION_FILE: Final = "vision.xml"
TEXT_FILE: Final = "text.xml"
EMBEDDINGS_FILE: Final = "embeddings.npy"
FACTS_FILE: Final = "facts.json"
_SEAL_FILE: Final = "checksums.json"

# Increase it whenever the converter makes other files of the same checkpoint.
_CONVERTER_VERSION: Final = 4
_READ_BYTES: Final = 1 << 20
# Two changes of a file within one tick of the file system's clock leave the same times.
_SETTLED_AFTER_S: Final = 5.0
_ABANDONED_AFTER_S: Final = 24 * 3600.0
_TEMPORARY: Final = ".making-"

_log = logging.getLogger("sightline")

Make = Callable[[Path], None]


def default_cache_folder() -> Path:
    """Return $SIGHTLINE_CACHE, else `sightline` in this platform's folder for caches."""
    if named := os.environ.get("SIGHTLINE_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        # platformdirs would prefer $XDG_CACHE_HOME, and miss what earlier releases have converted.
        return Path("~/Library/Caches/sightline").expanduser()
    return platformdirs.user_cache_path("sightline", appauthor=False, opinion=False)


@dataclass(frozen=True)
class Conversion:
    """A complete conversion."""

    folder: Path
    temporary: tempfile.TemporaryDirectory[str] | None = None
    """Set if the cache cannot be written: the folder is deleted together with this object."""


def get_conversion(
    checkpoint: Path, variant: str, made_by: str, make: Make, cache_folder: Path
) -> Conversion:
    """Return the conversion that `make(folder)` writes, from the cache if it is there.

    `variant` names the format of the conversion in characters of a file name, `made_by` the release
    of the software that makes it. If the cache folder cannot be written, the conversion is kept for
    this process only, with a warning in the log. Raise what `make` raises, but an OSError only the
    second time.
    """
    content = _content(checkpoint, cache_folder)
    entry = _entry(content, variant, made_by, cache_folder)
    if is_complete(entry):
        return Conversion(entry)
    try:
        cache_folder.mkdir(parents=True, exist_ok=True)
        _delete(_abandoned(cache_folder))
        _make_complete(entry, make)
        _delete(old for old in cache_folder.glob(f"{content}.{variant}.*") if old != entry)
        return Conversion(entry)
    except OSError as error:
        _log.warning(
            "The converted model cannot be kept in %s (%s). Every start will convert it again; "
            "SIGHTLINE_CACHE can name another folder.",
            cache_folder,
            error.strerror or error,
        )
    temporary = tempfile.TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True)
    make(Path(temporary.name))
    return Conversion(Path(temporary.name), temporary)


def is_converted(checkpoint: Path, variant: str, made_by: str, cache_folder: Path) -> bool:
    """Return whether the cache has this conversion, without reading any of its files."""
    stamp = [_stamp(file) for file in _content_files(checkpoint)]
    noted = _read_note(_note(checkpoint, cache_folder))
    if noted.get("stamp") != stamp:
        return False
    return _entry(str(noted["content"]), variant, made_by, cache_folder).is_dir()


def seal(folder: Path) -> None:
    """Flush the files in `folder`, which are complete, to the disk, and write the list of them."""
    files = {}
    for file in folder.iterdir():
        # A start compares sizes only, and a power failure can leave a file with its size but
        # without its content. Windows flushes only files that are open for writing.
        with file.open("r+b") as opened:
            os.fsync(opened.fileno())
        files[file.name] = [file.stat().st_size, _sha256(file)]
    (folder / _SEAL_FILE).write_text(json.dumps(files), encoding="utf-8")


def is_complete(folder: Path) -> bool:
    """Return whether `folder` has every file of its list, in the size that is listed."""
    sealed = _sealed(folder)
    return sealed is not None and all(
        _has_size(folder / name, size) for name, (size, _) in sealed.items()
    )


def damaged_files(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that differ from its list in size or hash."""
    sealed = _sealed(folder)
    if sealed is None:
        return [_SEAL_FILE]
    return [
        name
        for name, (size, checksum) in sealed.items()
        if not _has_size(folder / name, size) or _sha256(folder / name) != checksum
    ]


def entries(cache_folder: Path, checkpoint: Path | None = None) -> list[Path]:
    """Return the folders of all conversions in the cache, or of those of `checkpoint`."""
    if not cache_folder.is_dir():
        return []
    content = _content(checkpoint, cache_folder) if checkpoint is not None else "*"
    return sorted(entry for entry in cache_folder.glob(f"{content}.*.*") if entry.is_dir())


def _sealed(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Return size and hash of each file that `folder` lists; None if it has no readable list."""
    try:
        listed = json.loads((folder / _SEAL_FILE).read_text(encoding="utf-8"))
        return {name: (size, checksum) for name, (size, checksum) in listed.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False


def _make_complete(entry: Path, make: Make) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=entry.parent))
    try:
        make(scratch)
        # Another process may have finished first, and may use its entry already.
        if not is_complete(entry):
            shutil.rmtree(entry, ignore_errors=True)
            with suppress(OSError):
                scratch.rename(entry)
        if not is_complete(entry):
            raise OSError("the finished conversion cannot be moved there")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _content(checkpoint: Path, cache_folder: Path) -> str:
    """Return a hash over configuration and weights of `checkpoint`, the same in every folder.

    Hashing takes a second per gigabyte, so the hash is stored with the times and inode numbers of
    the files; the change time (ctime) among them cannot be set back.
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
                _delete(cache_folder.glob(f"{noted['content']}.*"))
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
    # Lists, because JSON returns lists.
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
    """Yield the folders that killed conversions have left."""
    for left in cache_folder.glob(f"{_TEMPORARY}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
            yield left


def _delete(entries: Iterable[Path]) -> None:
    for entry in entries:
        shutil.rmtree(entry, ignore_errors=True)
