"""The cache holds complete conversions only, and converts again what is missing or cut short."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from platformdirs.api import PlatformDirsABC
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows, get_win_folder_from_env_vars

from checkpoint_copy import copy_checkpoint
from vlm.runtimes.openvino.cache import (
    Conversion,
    damaged_files,
    default_cache_folder,
    entries,
    get_conversion,
    is_complete,
    seal,
)

FILES = {"model.xml": b"<net/>", "model.bin": bytes(range(256)) * 64}
LONG_AGO_S = 1_600_000_000


class Maker:
    """A converter that fills a folder at once, and counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        seal(folder)


@pytest.fixture
def checkpoint(nano_dir: Path, tmp_path: Path) -> Path:
    """A checkpoint whose files can be changed."""
    folder = copy_checkpoint(nano_dir, tmp_path / "checkpoint", {"model.safetensors": None})
    shutil.copyfile(nano_dir / "model.safetensors", folder / "model.safetensors")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sightline"


@pytest.fixture
def made(checkpoint: Path, cache: Path) -> Path:
    """The folder of a conversion in the cache."""
    return get(checkpoint, cache, Maker()).folder


def get(checkpoint: Path, cache: Path, maker: Callable[[Path], None], **names: str) -> Conversion:
    named = {"variant": "float32", "made_by": "openvino 1"} | names
    return get_conversion(checkpoint, named["variant"], named["made_by"], maker, cache)


def folders(cache: Path) -> list[Path]:
    """Return all folders in the cache, conversions or not."""
    return [folder for folder in cache.iterdir() if folder.is_dir()]


def test_second_start_converts_nothing(checkpoint: Path, cache: Path) -> None:
    maker = Maker()
    first = get(checkpoint, cache, maker)
    assert get(checkpoint, cache, maker) == first
    assert maker.count == 1
    assert first.temporary is None
    assert (first.folder / "model.bin").read_bytes() == FILES["model.bin"]


def test_copied_checkpoint_shares_the_conversion(
    checkpoint: Path, cache: Path, made: Path, tmp_path: Path
) -> None:
    maker = Maker()
    assert get(Path(shutil.copytree(checkpoint, tmp_path / "b")), cache, maker).folder == made
    assert maker.count == 0


@pytest.mark.parametrize("name", ["variant", "made_by"])
def test_other_variant_or_release_is_converted(
    checkpoint: Path, cache: Path, made: Path, name: str
) -> None:
    maker = Maker()
    other = get(checkpoint, cache, maker, **{name: "another"}).folder
    assert maker.count == 1
    assert other != made
    # The conversion of an older release is deleted, that of another variant is kept.
    assert made.exists() == (name == "variant")


def test_changed_weights_are_converted_again(checkpoint: Path, cache: Path, made: Path) -> None:
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    times = weights.stat().st_mtime_ns
    weights.write_bytes(data)
    # Like a copy that keeps times: size and modification time are the same as before.
    os.utime(weights, ns=(times, times))
    maker = Maker()
    assert get(checkpoint, cache, maker).folder != made
    assert maker.count == 1


def test_unchanged_weights_are_not_hashed_again(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm.runtimes.openvino.cache._SETTLED_AFTER_S", -1.0)
    get(checkpoint, cache, Maker())
    (note,) = cache.glob("content-*.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"content": "noted"}))
    assert get(checkpoint, cache, Maker()).folder.name.startswith("noted")
    (checkpoint / "model.safetensors").touch()
    assert not get(checkpoint, cache, Maker()).folder.name.startswith("noted")
    assert [folder for folder in folders(cache) if folder.name.startswith("noted")] == []


def test_hash_of_just_written_weights_is_not_stored(made: Path) -> None:
    assert list(made.parent.glob("content-*")) == []


def replace(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "damaged"),
    [
        pytest.param(replace("model.bin", b"short"), "model.bin", id="file cut short"),
        pytest.param(remove("model.xml"), "model.xml", id="file missing"),
        pytest.param(remove("checksums.json"), "checksums.json", id="list missing"),
        pytest.param(replace("checksums.json", b"[1"), "checksums.json", id="list cut short"),
        pytest.param(replace("checksums.json", b"[1]"), "checksums.json", id="list of other kind"),
        pytest.param(
            replace("checksums.json", b'{"model.bin": 3}'), "checksums.json", id="list without hash"
        ),
    ],
)
def test_incomplete_conversion_is_made_again(
    checkpoint: Path,
    cache: Path,
    made: Path,
    damage: Callable[[Path], object],
    damaged: str,
) -> None:
    damage(made)
    assert not is_complete(made)
    assert damaged_files(made) == [damaged]
    maker = Maker()
    assert get(checkpoint, cache, maker).folder == made
    assert maker.count == 1
    assert is_complete(made)
    assert damaged_files(made) == []


@pytest.mark.parametrize("name", list(FILES))
def test_changed_byte_is_found_by_the_hashes_only(made: Path, name: str) -> None:
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert is_complete(made)
    assert damaged_files(made) == [name]


def test_conversion_of_an_earlier_release_is_accepted(
    checkpoint: Path, cache: Path, made: Path
) -> None:
    listed = {
        name: [len(content), hashlib.sha256(content).hexdigest()] for name, content in FILES.items()
    }
    assert json.loads((made / "checksums.json").read_text()) == listed
    (made / "checksums.json").write_text(json.dumps(listed))
    maker = Maker()
    assert get(checkpoint, cache, maker).folder == made
    assert maker.count == 0


def test_entries_are_all_conversions_or_those_of_one_checkpoint(
    nano_dir: Path, checkpoint: Path, cache: Path, made: Path
) -> None:
    assert entries(cache) == entries(cache, nano_dir) == [made]
    other = get(checkpoint, cache, Maker(), variant="int8").folder
    with (checkpoint / "model.safetensors").open("ab") as weights:
        weights.write(b" ")
    changed = get(checkpoint, cache, Maker()).folder
    (cache / ".making-left").mkdir()
    assert entries(cache) == sorted([made, other, changed])
    assert entries(cache, nano_dir) == sorted([made, other])
    assert entries(cache, checkpoint) == [changed]
    assert entries(cache / "none", checkpoint) == []
    assert not (cache / "none").exists()


def test_interrupted_conversion_leaves_nothing(checkpoint: Path, cache: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "model.xml").write_bytes(b"<ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(checkpoint, cache, interrupted)
    assert folders(cache) == []


def test_remains_of_a_killed_conversion_are_deleted_later(checkpoint: Path, cache: Path) -> None:
    old, new = cache / ".making-old", cache / ".making-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (LONG_AGO_S, LONG_AGO_S))
    get(checkpoint, cache, Maker())
    assert not old.exists()
    assert new.exists()


def test_two_processes_convert_at_once(checkpoint: Path, cache: Path) -> None:
    both_are_making = Barrier(2)

    def slowly(folder: Path) -> None:
        both_are_making.wait()
        Maker()(folder)

    with ThreadPoolExecutor(2) as starts:
        first, second = starts.map(lambda _: get(checkpoint, cache, slowly), range(2))
    assert first == second
    assert is_complete(first.folder)
    assert folders(cache) == [first.folder]


def test_cache_that_cannot_be_written_logs_a_warning(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    maker = Maker()
    with caplog.at_level(logging.WARNING, "sightline"):
        kept = get(checkpoint, in_the_way / "cache", maker)
    assert is_complete(kept.folder)
    assert kept.temporary is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SIGHTLINE_CACHE" in caplog.text
    kept.temporary.cleanup()
    assert not kept.folder.exists()


def test_full_disk_logs_a_warning(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker()

    def full(folder: Path) -> None:
        if folder.parent == cache:
            (folder / "model.xml").write_bytes(b"<ne")
            raise OSError(28, "No space left on device")
        maker(folder)

    with caplog.at_level(logging.WARNING, "sightline"):
        kept = get(checkpoint, cache, full)
    assert is_complete(kept.folder)
    assert "No space left on device" in caplog.text
    assert folders(cache) == []
    assert kept.temporary is not None
    kept.temporary.cleanup()


def test_sightline_cache_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path


@pytest.mark.parametrize(
    ("platform", "dirs", "variables", "inside"),
    [
        ("linux", Unix, ["HOME"], "home/.cache/sightline"),
        ("linux", Unix, ["HOME", "XDG_CACHE_HOME"], "xdg_cache_home/sightline"),
        ("darwin", MacOS, ["HOME"], "home/Library/Caches/sightline"),
        ("darwin", MacOS, ["HOME", "XDG_CACHE_HOME"], "home/Library/Caches/sightline"),
        ("win32", Windows, ["LOCALAPPDATA"], "localappdata/sightline"),
    ],
)
def test_default_folder_is_the_one_of_earlier_releases(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform: str,
    dirs: type[PlatformDirsABC],
    variables: list[str],
    inside: str,
) -> None:
    for name in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in variables:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setattr("platformdirs.PlatformDirs", dirs)
    monkeypatch.setattr("platformdirs.windows.get_win_folder", get_win_folder_from_env_vars)
    monkeypatch.setattr("sys.platform", platform)
    assert default_cache_folder() == tmp_path / inside
