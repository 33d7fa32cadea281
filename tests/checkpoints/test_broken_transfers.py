"""Laws of a transfer that goes wrong midway: what is kept, what is not, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from fetcher import HUB_ID, Fetcher
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.errors import FetchCancelledError, FetchError

# Long enough that a test which waits for it is seen to.
ENDLESS_S = 3600.0


@pytest.fixture
def weights_bytes(nano_dir: Path) -> int:
    return (nano_dir / WEIGHTS_FILE).stat().st_size


def test_a_cut_connection_is_resumed_not_restarted(fetcher: Fetcher, weights_bytes: int) -> None:
    fetcher.hub.faults.append(Fault(cut_after_bytes=2_000_000, times=3))
    fetcher()
    assert fetcher.weights_from() == [0, 2_000_000, 4_000_000, 6_000_000]
    assert fetcher.weights_served() == weights_bytes


def test_a_connection_is_resumed_as_long_as_something_comes(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(cut_after_bytes=1_000_000))
    fetcher()
    assert fetcher.weights_from() == [each * 1_000_000 for each in range(8)]


def test_a_connection_that_brings_nothing_is_given_up(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(cut_after_bytes=0))
    with pytest.raises(FetchError, match=r"breaks off again and again.*try again.*kept"):
        fetcher()
    assert fetcher.complete() is None
    assert len(fetcher.weights_from()) == 4
    assert "broke off" in fetcher.told[-1].note
    fetcher.hub.faults.clear()
    assert fetcher() == fetcher.complete()


def test_a_later_fetch_goes_on_where_one_was_given_up(fetcher: Fetcher, weights_bytes: int) -> None:
    fetcher.hub.faults += [Fault(cut_after_bytes=3_000_000, times=1), Fault(status=404, spared=2)]
    with pytest.raises(FetchError, match="404"):
        fetcher()
    assert fetcher.complete() is None
    fetcher.hub.faults.clear()
    fetcher.told.clear()
    fetcher()
    assert fetcher.weights_from()[-1] == 3_000_000
    assert fetcher.weights_served() == weights_bytes
    assert fetcher.told[-1].received_bytes == fetcher.told[-1].total_bytes


def test_a_hub_that_cannot_resume_sends_it_anew(
    fetcher: Fetcher, weights_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher.hub, "ignores_ranges", True)
    fetcher.hub.faults.append(Fault(cut_after_bytes=3_000_000, times=1))
    fetcher()
    assert fetcher.weights_served() == 3_000_000 + weights_bytes
    assert fetcher.told[-1].received_bytes == fetcher.told[-1].total_bytes


def test_a_truncated_file_is_told_and_not_taken(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(truncate_to_bytes=4_000_000))
    with pytest.raises(FetchError, match="less of a file than it"):
        fetcher()
    assert fetcher.complete() is None
    fetcher.hub.faults.clear()
    fetcher()
    assert fetcher.weights_from()[-1] == 4_000_000


def test_a_wrong_hash_is_told_and_the_file_deleted(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(wrong_content=True, times=1))
    with pytest.raises(FetchError, match=r"model\.safetensors is not what.*deleted\. Try again"):
        fetcher()
    assert fetcher.complete() is None
    assert fetcher.incomplete() == []
    fetcher()
    assert fetcher.weights_from() == [0, 0]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_small_files_are_hashed_too(fetcher: Fetcher, name: str) -> None:
    fetcher.hub.faults.append(Fault(path=name, wrong_content=True))
    with pytest.raises(FetchError, match=f"{name} is not what"):
        fetcher()
    assert fetcher.incomplete() == []


def test_a_slow_trickle_can_be_cancelled(fetcher: Fetcher, weights_bytes: int) -> None:
    fetcher.hub.bytes_per_s = 100_000
    with pytest.raises(FetchCancelledError, match="kept"):
        fetcher(is_cancelled=lambda: any(each.received_bytes > 100_000 for each in fetcher.told))
    received = fetcher.weights_served()
    assert 0 < received < weights_bytes / 2
    assert fetcher.complete() is None
    (kept,) = fetcher.incomplete()
    size = kept.stat().st_size
    assert 0 < size <= received
    fetcher.hub.bytes_per_s = None
    fetcher()
    assert fetcher.weights_from() == [0, size]


def test_a_stalled_connection_can_be_cancelled(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", ENDLESS_S)
    fetcher.hub.faults.append(Fault(stall_after_bytes=1_000_000, times=1))
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: any(each.received_bytes > 1_000_000 for each in fetcher.told))
    fetcher()
    assert fetcher.weights_from() == [0, 1_000_000]


def test_a_hub_that_does_not_answer_can_be_cancelled(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", ENDLESS_S)
    fetcher.hub.faults.append(Fault(path="/api/models", stall_after_bytes=0))
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: len(fetcher.hub.requests) > 0)


def test_what_a_cancelled_transfer_still_receives_goes_nowhere(
    fetcher: Fetcher, weights_bytes: int
) -> None:
    fetcher.hub.bytes_per_s = 2_000_000
    with pytest.raises(FetchCancelledError):
        fetcher(is_cancelled=lambda: any(each.received_bytes > 500_000 for each in fetcher.told))
    # The first connection may still be open while the second one fetches the rest.
    fetcher.hub.bytes_per_s = None
    fetcher()
    assert (fetcher.complete() or Path()).joinpath(WEIGHTS_FILE).stat().st_size == weights_bytes


def test_a_stalled_connection_is_told_in_the_end(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    fetcher.hub.faults.append(Fault(stall_after_bytes=0))
    with pytest.raises(FetchError, match=r"stopped sending.*kept"):
        fetcher()
    assert any(each.note.startswith("The hub has stopped sending") for each in fetcher.told)
    assert fetcher.told[-1].bytes_per_s == 0 or fetcher.told[-1].left_s is not None


def test_a_cancelled_fetch_asks_nothing_more(fetcher: Fetcher) -> None:
    with pytest.raises(FetchCancelledError):
        fetcher(HUB_ID, is_cancelled=lambda: True)
    assert not fetcher.hub.requests_for("/resolve/")
