"""Laws of a hub that refuses or cannot be reached: the message, and the number of attempts."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from fetcher import HUB_ID, TOKEN, Fetcher
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.hub_failures import LONGEST_WAIT_S, failure_of
from vlm.errors import FetchError

GATED = {"X-Error-Code": "GatedRepo"}
NO_HUB = "Something other than the hub answered.*login page"
# Status, headers, body; then words of the message, and the number of attempts.
REFUSALS = [
    (401, {}, b"", "needs a login for .*401.*Check the name", 2),  # with and without the token
    (403, {}, b"", "denies access to .*403", 1),
    (403, GATED, b"", "accept their terms", 1),
    (404, {}, b"", "no model .*404", 1),
    (416, {}, b"", "less of a file .*416", 1),
    (407, {}, b"", "A proxy before the hub demands a login", 1),
    (418, {}, b"", "refused .*418", 1),
    (429, {"Retry-After": "0"}, b"", "too many requests", 3),
    (429, {"Retry-After": f"{LONGEST_WAIT_S + 1:.0f}"}, b"", "Try again in 61 s", 1),
    (429, {"Retry-After": "600"}, b"", "Try again in 10 minutes", 1),
    (500, {}, b"", "a problem .*500.*Try again in some minutes", 3),
    (503, {}, b"", "a problem .*503.*Try again in some minutes", 3),
    (511, {}, b"", NO_HUB, 1),
    (200, {}, b"<html>Welcome to this hotel</html>", NO_HUB, 1),
    (200, {}, b"{}", NO_HUB, 1),
    (200, {}, b"[]", NO_HUB, 1),
]


def refusal(fetcher: Fetcher, hub_id: str = HUB_ID, **changes: object) -> str:
    """Return the message of a download that fails, which has no secret, address or path."""
    with pytest.raises(FetchError) as raised:
        fetcher(hub_id, **changes)
    message = str(raised.value)
    for secret in (TOKEN, "://", str(fetcher.cache), str(Path.home()), "127.0.0.1"):
        assert secret not in message
    assert fetcher.complete() is None
    return message


def test_each_refusal_has_its_message(fetcher: Fetcher) -> None:
    for path in ("/api/models/", ".safetensors"):
        for status, headers, body, words, attempts in REFUSALS:
            if body and path == ".safetensors":
                continue
            fetcher.hub.requests.clear()
            fetcher.hub.faults[:] = [Fault(path, status=status, headers=headers, body=body)]
            assert re.search(words, refusal(fetcher))
            assert len(fetcher.hub.requests_for(path)) == attempts
    fetcher.hub.faults.clear()
    assert "no such public model" in refusal(fetcher, "someone/else")
    assert "no such revision" in refusal(fetcher, revision="v7")
    assert fetcher() == fetcher.complete()


def test_a_temporary_refusal_is_retried(fetcher: Fetcher) -> None:
    limited = Fault(status=429, headers={"Retry-After": "1"}, times=1)
    fetcher.hub.faults += [Fault("/api/models/", status=502, times=1), limited]
    assert fetcher() == fetcher.complete()
    refused, *_ = fetcher.hub.requests_for(".safetensors")
    served = fetcher.hub.requests_for("/cdn/")[0]
    assert served.at_s - refused.at_s >= 1
    notes = [each.note for each in fetcher.progress]
    assert "The hub has a problem (502); retrying in 0 s." in notes
    assert any("requests from this network (429); retrying in 1 s." in note for note in notes)
    assert notes[-1] == ""


@pytest.mark.parametrize("hub_id", ["a/b/c", "--/..", ""])
def test_an_invalid_name_is_refused_without_a_request(fetcher: Fetcher, hub_id: str) -> None:
    assert "not a valid name" in refusal(fetcher, hub_id)
    assert fetcher.hub.requests == []


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_an_unreachable_hub_has_its_message(
    fetcher: Fetcher, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for endpoint in (
        f"http://127.0.0.1:{closed_port}",
        fetcher.hub.url.replace("http:", "https:"),  # not the protocol that it speaks
    ):
        assert "cannot be reached. Check the network" in refusal(fetcher, endpoint=endpoint)
    for endpoint in ("hub", "ftp://hub", "http://"):
        assert "HF_ENDPOINT" in refusal(fetcher, endpoint=endpoint)
    assert fetcher() == fetcher.complete()

    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(FetchError, match=r"cannot be resolved: is there a network\?"):
        fetcher(endpoint="http://hub.invalid")


def test_only_errors_of_the_hub_are_explained() -> None:
    assert failure_of(MemoryError(), HUB_ID, "hub") is None


def test_offline_mode_is_respected(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(fetcher)
    assert fetcher.hub.requests == []
