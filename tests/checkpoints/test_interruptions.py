"""Laws of a download that breaks, is cancelled or killed, or finds the disk full."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fetcher import HUB_ID, Fetcher
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.checkpoints.hub_cache import CachedRepository
from vlm.errors import DiskFullError, FetchCancelledError, FetchError
from web_client import wait_until

ROOT = Path(__file__).resolve().parents[2]
# Long enough to notice a test that waits for it.
ENDLESS_S = 3600.0
MB = 1_000_000


@pytest.fixture
def weights_bytes(nano_dir: Path) -> int:
    return (nano_dir / WEIGHTS_FILE).stat().st_size


def weights_to_come(fetcher: Fetcher) -> Path:
    """Download all but the weights; return the path of their part."""
    link = fetcher() / WEIGHTS_FILE
    blob = link.resolve()
    link.unlink()
    blob.unlink()
    return blob.with_name(f"{blob.name}.incomplete")


def test_a_broken_connection_is_resumed_while_data_arrives(
    fetcher: Fetcher, weights_bytes: int
) -> None:
    fetcher.hub.faults.append(Fault(cut_after_bytes=MB))
    fetcher()
    assert fetcher.weights_first_bytes() == [each * MB for each in range(8)]
    assert fetcher.weights_served() == weights_bytes


@pytest.mark.parametrize(
    ("fault", "words", "note"),
    [
        (Fault(cut_after_bytes=0), "connection to .* broke.*kept", "broke; retrying"),
        (Fault(stall_after_bytes=0), "stopped sending.*kept", "stopped sending; retrying"),
        (Fault(truncate_to_bytes=0), "less of a file than", "less of a file than"),
    ],
)
def test_a_connection_without_data_is_given_up(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, fault: Fault, words: str, note: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    fetcher.hub.faults.append(fault)
    with pytest.raises(FetchError, match=words):
        fetcher()
    assert fetcher.complete() is None
    assert len(fetcher.weights_first_bytes()) == 3
    assert note in fetcher.progress[-1].note
    fetcher.hub.faults.clear()
    assert fetcher() == fetcher.complete()
    assert fetcher.progress[-1].note == ""


def test_a_later_download_resumes_and_its_part_is_counted(
    fetcher: Fetcher, weights_bytes: int
) -> None:
    repository = CachedRepository.of(HUB_ID, fetcher.cache)
    assert repository.received_bytes() == 0
    fetcher.hub.faults += [Fault(cut_after_bytes=3 * MB, times=1), Fault(status=404, spared=2)]
    with pytest.raises(FetchError, match="404"):
        fetcher()
    assert fetcher.complete() is None
    assert 3 * MB < repository.received_bytes() < 3.2 * MB
    fetcher.hub.faults.clear()
    fetcher()
    assert fetcher.weights_first_bytes()[-1] == 3 * MB
    assert fetcher.weights_served() == weights_bytes
    assert fetcher.progress[-1].received_bytes == fetcher.progress[-1].total_bytes


def test_a_hub_without_ranges_sends_the_file_again(fetcher: Fetcher, weights_bytes: int) -> None:
    fetcher.hub.ignores_ranges = True
    fetcher.hub.faults.append(Fault(cut_after_bytes=3 * MB, times=1))
    fetcher()
    assert fetcher.weights_served() == 3 * MB + weights_bytes
    assert fetcher.progress[-1].received_bytes == fetcher.progress[-1].total_bytes


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS_FILE])
def test_a_file_with_a_wrong_hash_is_deleted(fetcher: Fetcher, name: str) -> None:
    fetcher.hub.faults.append(Fault(path=name, wrong_content=True, times=1))
    with pytest.raises(FetchError, match=f"{name} failed its checksum and was deleted. Try again"):
        fetcher()
    assert fetcher.complete() is None
    assert fetcher.incomplete() == []
    fetcher()
    assert {each.first_byte for each in fetcher.hub.requests_for(name)} == {0}


@pytest.mark.parametrize(
    ("left", "requests"), [("right", 1), ("short", 3), ("wrong", 2), ("long", 2)]
)
def test_an_unchecked_file_is_checked_by_the_next_download(
    fetcher: Fetcher, repository: Path, weights_bytes: int, left: str, requests: int
) -> None:
    incomplete = weights_to_come(fetcher)
    content = {
        "right": (repository / WEIGHTS_FILE).read_bytes(),
        "short": bytes(weights_bytes - 1),
        "wrong": bytes(weights_bytes),
        "long": bytes(weights_bytes + 1),
    }
    incomplete.write_bytes(content[left])
    assert fetcher.complete() is None
    assert fetcher() == fetcher.complete()
    assert len(fetcher.weights_first_bytes()) == requests
    assert fetcher.weights_first_bytes()[-1] == 0
    assert fetcher.incomplete() == []


def test_a_slow_download_can_be_cancelled_and_resumed(fetcher: Fetcher, weights_bytes: int) -> None:
    fetcher.hub.bytes_per_s = 2 * MB
    with pytest.raises(FetchCancelledError, match="kept"):
        fetcher(is_cancelled=lambda: fetcher.received_more_than(500_000))
    (kept,) = fetcher.incomplete()
    size = kept.stat().st_size
    assert 0 < size <= fetcher.weights_served() < weights_bytes / 2
    # The first connection may still be open; what it receives must not reach the file.
    fetcher.hub.bytes_per_s = None
    assert fetcher() == fetcher.complete()
    assert fetcher.weights_first_bytes() == [0, size]


def test_a_stalled_request_can_be_cancelled(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", ENDLESS_S)
    fetcher.hub.faults.append(Fault(path="/api/models", stall_after_bytes=0, times=1))
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: len(fetcher.hub.requests) > 0)
    fetcher.hub.faults[:] = [Fault(stall_after_bytes=MB, times=1)]
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: fetcher.received_more_than(MB))
    fetcher.hub.faults[:] = [Fault(status=429, headers={"Retry-After": "60"}, times=1)]
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: "retrying in 60 s" in fetcher.progress[-1].note)
    fetcher()
    assert fetcher.weights_first_bytes() == [0, MB, MB]


def test_a_cancelled_download_requests_nothing_more(fetcher: Fetcher) -> None:
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: True)
    assert fetcher.hub.requests == []


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_is_resumed_at_its_last_byte(
    fetcher: Fetcher, ending: signal.Signals
) -> None:
    fetcher.hub.bytes_per_s = 4 * MB
    command: dict[str, Any] = {
        "args": [sys.executable, "-m", "vlm.models", "fetch", HUB_ID],
        "cwd": ROOT,
        "env": os.environ | fetcher.hub.env(fetcher.cache.parent),
        "text": True,
    }
    with subprocess.Popen(**command, stderr=subprocess.PIPE) as process:
        wait_until(lambda: any(each.stat().st_size > MB for each in fetcher.incomplete()))
        process.send_signal(ending)
        errors = process.communicate()[1]
    if ending == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped. The same command" in errors
        assert "Traceback" not in errors
    assert fetcher.complete() is None
    (kept,) = fetcher.incomplete()
    size = kept.stat().st_size
    fetcher.hub.bytes_per_s = None
    again = subprocess.run(**command, capture_output=True, check=True)
    assert str(fetcher.complete()) in again.stdout
    assert "100%" in again.stderr
    assert fetcher.weights_first_bytes() == [0, size]
    assert fetcher.incomplete() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_and_the_part_removed(fetcher: Fetcher) -> None:
    weights_to_come(fetcher).symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"disk is full.*removed.*Make room"):
        fetcher()
    assert fetcher.incomplete() == []
    assert fetcher() == fetcher.complete()


def test_a_small_disk_is_reported_before_the_weights(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(fetcher.cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7 * MB))
    with pytest.raises(DiskFullError, match=r"needs 0\.01 GB more.* 0\.01 GB are free. Make room"):
        fetcher()
    assert not fetcher.hub.requests_for(WEIGHTS_FILE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=9 * MB))
    fetcher()


def test_an_unwritable_cache_is_reported_without_a_path(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"cache cannot be written: Not a directory") as error:
        fetcher(cache_folder=tmp_path / "file")
    assert str(tmp_path) not in str(error.value)
