"""Converted models are kept whole or not at all, and made anew where they are damaged."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from checkpoint_copy import copy_checkpoint
from vlm.runtimes.openvino.cache import Converted, converted, default_cache_folder, is_whole, seal

FILES = {"model.xml": b"<net/>", "model.bin": bytes(range(256)) * 64}
LONG_AGO_S = 1_600_000_000


class Maker:
    """Stands for the converter: fills a folder at once, and counts how often it had to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        seal(folder)


@pytest.fixture
def checkpoint(nano_dir: Path, tmp_path: Path) -> Path:
    """A checkpoint whose files can be changed, last touched long ago."""
    folder = copy_checkpoint(nano_dir, tmp_path / "checkpoint", {"model.safetensors": None})
    shutil.copyfile(nano_dir / "model.safetensors", folder / "model.safetensors")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sightline"


@pytest.fixture
def made(checkpoint: Path, cache: Path) -> Path:
    """The folder of an entry that the cache holds."""
    return get(checkpoint, cache, Maker()).folder


def get(checkpoint: Path, cache: Path, maker: Callable[[Path], None], **names: str) -> Converted:
    named = {"variant": "float32", "made_by": "openvino 1"} | names
    return converted(checkpoint, named["variant"], named["made_by"], maker, cache)


def entries(cache: Path) -> list[Path]:
    return [each for each in cache.iterdir() if each.is_dir()]


def test_the_second_start_makes_nothing(checkpoint: Path, cache: Path) -> None:
    maker = Maker()
    first = get(checkpoint, cache, maker)
    assert get(checkpoint, cache, maker) == first
    assert maker.count == 1
    assert first.temporary is None
    assert (first.folder / "model.bin").read_bytes() == FILES["model.bin"]


def test_the_same_content_elsewhere_makes_nothing(
    checkpoint: Path, cache: Path, made: Path, tmp_path: Path
) -> None:
    maker = Maker()
    assert get(Path(shutil.copytree(checkpoint, tmp_path / "b")), cache, maker).folder == made
    assert maker.count == 0


@pytest.mark.parametrize("name", ["variant", "made_by"])
def test_another_precision_or_release_is_made_anew(
    checkpoint: Path, cache: Path, made: Path, name: str
) -> None:
    maker = Maker()
    other = get(checkpoint, cache, maker, **{name: "another"}).folder
    assert maker.count == 1
    assert other != made
    # What an older release has made is of no more use; another precision may be.
    assert made.exists() == (name == "variant")


def test_changed_weights_are_made_anew(checkpoint: Path, cache: Path, made: Path) -> None:
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    times = weights.stat().st_mtime_ns
    weights.write_bytes(data)
    # As a copy that keeps times would have it: size and time are those of before.
    os.utime(weights, ns=(times, times))
    maker = Maker()
    assert get(checkpoint, cache, maker).folder != made
    assert maker.count == 1


def test_unchanged_weights_are_not_read_again(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm.runtimes.openvino.cache._SETTLED_AFTER_S", -1.0)
    get(checkpoint, cache, Maker())
    (note,) = cache.glob("content-*.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"content": "noted"}))
    assert get(checkpoint, cache, Maker()).folder.name.startswith("noted")
    (checkpoint / "model.safetensors").touch()
    assert not get(checkpoint, cache, Maker()).folder.name.startswith("noted")
    assert [each for each in entries(cache) if each.name.startswith("noted")] == []


def test_weights_that_were_just_written_are_not_taken_on_trust(made: Path) -> None:
    assert list(made.parent.glob("content-*")) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda entry: (entry / "model.bin").write_bytes(b"short"), id="cut short"),
        pytest.param(
            lambda entry: (entry / "model.bin").write_bytes(b"x" * len(FILES["model.bin"])),
            id="garbage of the same size",
        ),
        pytest.param(lambda entry: (entry / "model.xml").write_bytes(b"<boo/>"), id="another net"),
        pytest.param(lambda entry: (entry / "model.xml").unlink(), id="a file missing"),
        pytest.param(lambda entry: (entry / "checksums.json").unlink(), id="never sealed"),
        pytest.param(lambda entry: (entry / "checksums.json").write_text("[1"), id="torn seal"),
        pytest.param(lambda entry: (entry / "checksums.json").write_text("[1]"), id="other seal"),
        pytest.param(
            lambda entry: (entry / "checksums.json").write_text('{"model.bin": 3}'), id="odd seal"
        ),
    ],
)
def test_a_damaged_entry_is_made_anew(
    checkpoint: Path, cache: Path, made: Path, damage: Callable[[Path], None]
) -> None:
    damage(made)
    maker = Maker()
    assert get(checkpoint, cache, maker).folder == made
    assert maker.count == 1
    assert is_whole(made)


def test_an_interrupted_conversion_leaves_nothing(checkpoint: Path, cache: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "model.xml").write_bytes(b"<ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(checkpoint, cache, interrupted)
    assert entries(cache) == []


def test_what_a_killed_conversion_left_is_swept_up_later(checkpoint: Path, cache: Path) -> None:
    old, new = cache / ".making-old", cache / ".making-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (LONG_AGO_S, LONG_AGO_S))
    get(checkpoint, cache, Maker())
    assert not old.exists()
    assert new.exists()


def test_two_processes_at_once_do_no_harm(checkpoint: Path, cache: Path) -> None:
    both_are_making = Barrier(2)

    def slowly(folder: Path) -> None:
        both_are_making.wait()
        Maker()(folder)

    with ThreadPoolExecutor(2) as starts:
        first, second = starts.map(lambda _: get(checkpoint, cache, slowly), range(2))
    assert first == second
    assert is_whole(first.folder)
    assert entries(cache) == [first.folder]


def test_a_cache_folder_that_cannot_be_written_costs_a_warning(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    maker = Maker()
    with caplog.at_level(logging.WARNING, "sightline"):
        kept = get(checkpoint, in_the_way / "cache", maker)
    assert is_whole(kept.folder)
    assert kept.temporary is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SIGHTLINE_CACHE" in caplog.text
    kept.temporary.cleanup()
    assert not kept.folder.exists()


def test_a_full_disk_costs_a_warning(
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
    assert is_whole(kept.folder)
    assert "No space left on device" in caplog.text
    assert entries(cache) == []
    assert kept.temporary is not None
    kept.temporary.cleanup()


def test_the_folder_is_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path


@pytest.mark.parametrize(
    ("platform", "variable", "inside"),
    [
        ("linux", "XDG_CACHE_HOME", "sightline"),
        ("linux", "HOME", ".cache/sightline"),
        ("darwin", "HOME", "Library/Caches/sightline"),
        ("win32", "LOCALAPPDATA", "sightline"),
    ],
)
def test_the_folder_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, inside: str
) -> None:
    for each in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert default_cache_folder() == tmp_path / inside
