"""Laws of a fetch that is killed, and of one that finds the disk full."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fetcher import HUB_ID, Fetcher

from hub_server import HubServer
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.checkpoints.hub import FetchProgress
from vlm.errors import DiskFullError, FetchError

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 30.0


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def start_fetching(hub: HubServer, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vlm.checkpoints.catalogue", "fetch", HUB_ID],
        cwd=ROOT,
        env=os.environ | hub.env(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fetch_a_part(fetcher: Fetcher, how_it_ends: signal.Signals) -> subprocess.Popen[str]:
    """A process that was ended while it fetched the weights into the cache of `fetcher`."""
    fetcher.hub.bytes_per_s = 4_000_000
    process = start_fetching(fetcher.hub, fetcher.cache.parent)
    wait_for(lambda: any(each.stat().st_size > 1_000_000 for each in fetcher.incomplete()))
    process.send_signal(how_it_ends)
    process.wait(START_S)
    fetcher.hub.bytes_per_s = None
    return process


def test_a_new_start_goes_on_where_one_was_killed(fetcher: Fetcher) -> None:
    with fetch_a_part(fetcher, signal.SIGKILL) as killed:
        assert killed.returncode == -signal.SIGKILL
    assert fetcher.complete() is None
    (kept,) = fetcher.incomplete()
    size = kept.stat().st_size
    fetcher()
    assert fetcher.weights_from() == [0, size]
    assert fetcher.incomplete() == []


def test_ctrl_c_leaves_it_resumable_and_says_so(fetcher: Fetcher) -> None:
    with fetch_a_part(fetcher, signal.SIGINT) as interrupted:
        told = interrupted.stderr.read() if interrupted.stderr else ""
    assert interrupted.returncode == 130
    assert "goes on where this one was" in told
    assert "Traceback" not in told
    (kept,) = fetcher.incomplete()
    size = kept.stat().st_size
    with start_fetching(fetcher.hub, fetcher.cache.parent) as again:
        out, told = again.communicate(timeout=START_S)
    assert again.returncode == 0, told
    assert str(fetcher.complete()) in out
    assert "100%" in told
    assert fetcher.weights_from() == [0, size]


def killed_after_the_last_byte(fetcher: Fetcher, content: bytes) -> None:
    """The cache as a process leaves it that ends before it has hashed what it received."""
    blob = (fetcher() / WEIGHTS_FILE).resolve()
    (fetcher.cache / blob.parent / f"{blob.name}.incomplete").write_bytes(content)
    blob.unlink()
    for shown in fetcher.cache.glob(f"models--*/snapshots/*/{WEIGHTS_FILE}"):
        shown.unlink()


def test_what_was_not_hashed_any_more_is_hashed_by_the_next_fetch(
    fetcher: Fetcher, repository: Path
) -> None:
    killed_after_the_last_byte(fetcher, (repository / WEIGHTS_FILE).read_bytes())
    assert fetcher.complete() is None
    fetcher()
    assert fetcher.weights_from() == [0]


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_what_was_not_hashed_and_is_wrong_is_fetched_anew(
    fetcher: Fetcher, repository: Path, spare: int
) -> None:
    size = (repository / WEIGHTS_FILE).stat().st_size
    killed_after_the_last_byte(fetcher, bytes(size + spare))
    assert fetcher.complete() is None
    fetcher()
    assert fetcher.weights_from()[-1] == 0
    assert fetcher.incomplete() == []


def test_a_full_disk_is_told_and_what_was_half_written_removed(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    write = os.write

    def fill(file: int, data: memoryview) -> int:
        nonlocal written
        written += len(data)
        if written > 2_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr("vlm.checkpoints.hub_blobs.os.write", fill)
    with pytest.raises(DiskFullError, match=r"disk is full.*removed.*Make room"):
        fetcher()
    assert fetcher.incomplete() == []
    assert fetcher.complete() is None
    monkeypatch.undo()


def test_a_disk_that_is_too_small_is_told_before_the_weights_are_asked_for(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(fetcher.cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7_000_000))
    with pytest.raises(DiskFullError, match=r"needs 0\.01 GB more.* 0\.01 GB are free. Make room"):
        fetcher()
    assert not fetcher.hub.requests_for(WEIGHTS_FILE)
    usage = usage._replace(free=9_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    fetcher()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 9 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_meanwhile_gets_its_room_back(
    fetcher: Fetcher, small_disk: Path
) -> None:
    fetcher.cache = small_disk / "hub"
    fetcher.hub.bytes_per_s = 10_000_000

    def fill_up(progress: FetchProgress) -> None:
        other = small_disk / "other"
        if progress.received_bytes > 1_000_000 and not other.exists():
            other.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))

    with pytest.raises(DiskFullError, match="disk is full"):
        fetcher(on_progress=fill_up)
    assert fetcher.incomplete() == []
    assert fetcher.complete() is None
    assert shutil.disk_usage(small_disk).free > 1_000_000
    (small_disk / "other").unlink()
    assert fetcher() == fetcher.complete()


def test_a_cache_that_cannot_be_written_is_told_without_a_path(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"cache cannot be written: Not a directory") as told:
        fetcher(cache_folder=tmp_path / "file")
    assert str(tmp_path) not in str(told.value)
