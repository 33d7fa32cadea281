"""Laws of a hub that refuses, or is not there: what is told, and how often it is asked."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import httpx2
import pytest
from fetcher import HUB_ID, TOKEN, Fetcher
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.hub_failures import LONGEST_WAIT_S, failure_of
from vlm.errors import FetchError

GATED = {"X-Error-Code": "GatedRepo"}
LOGIN_PAGE = b"<html>Welcome to this hotel</html>"


def refusal(fetcher: Fetcher, hub_id: str = HUB_ID, **changes: object) -> str:
    """What a fetch that fails tells; never a secret, an address or a path."""
    with pytest.raises(FetchError) as raised:
        fetcher(hub_id, **changes)
    told = str(raised.value)
    for never in (TOKEN, "://", str(fetcher.cache), str(Path.home()), "127.0.0.1"):
        assert never not in told
    assert fetcher.complete() is None
    return told


@pytest.mark.parametrize("path", ["/api/models/", ".safetensors"])
@pytest.mark.parametrize(
    ("status", "told", "attempts"),
    [
        (401, "asks who wants .*401.*Check the name", 1),
        (403, "does not let you have .*403", 1),
        (404, "no model .*404", 1),
        (418, "refuses .*418", 1),
        (500, "problem of its own .*500.*Try again in some minutes", 2),
        (503, "problem of its own .*503.*Try again in some minutes", 2),
    ],
)
def test_each_refusal_has_its_own_words(
    fetcher: Fetcher, path: str, status: int, told: str, attempts: int
) -> None:
    fetcher.hub.faults.append(Fault(path=path, status=status))
    message = refusal(fetcher)
    assert re.search(told, message)
    assert len(fetcher.hub.requests_for(path)) == attempts


def test_a_hub_that_fails_once_is_asked_again(fetcher: Fetcher) -> None:
    fetcher.hub.faults += [Fault(path="/api/models/", status=502, times=1)]
    fetcher.hub.faults += [Fault(status=503, times=1)]
    assert fetcher() == fetcher.complete()
    assert any("asking again" in each.note for each in fetcher.told)


def test_a_gated_model_is_told_with_what_to_do(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(path="/api/models/", status=403, headers=GATED))
    assert "accept their terms" in refusal(fetcher)


def test_a_model_that_is_not_there_is_told(fetcher: Fetcher) -> None:
    assert "no such public model" in refusal(fetcher, "someone/else")


def test_a_revision_that_is_not_there_is_told(fetcher: Fetcher) -> None:
    assert "no such revision" in refusal(fetcher, revision="v7")


@pytest.mark.parametrize("hub_id", ["a/b/c", "--/..", ""])
def test_a_name_that_cannot_be_is_told_without_asking(fetcher: Fetcher, hub_id: str) -> None:
    assert "no name" in refusal(fetcher, hub_id)
    assert fetcher.hub.requests == []


def test_a_hub_that_asks_to_wait_is_waited_for(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(status=429, headers={"Retry-After": "1"}, times=1))
    fetcher()
    refused, *_ = fetcher.hub.requests_for(".safetensors")
    served = fetcher.hub.requests_for("/cdn/")[0]
    assert served.at_s - refused.at_s >= 1
    assert any("asks to wait 1 s" in each.note for each in fetcher.told)
    assert fetcher.told[-1].note == ""


def test_a_hub_that_goes_on_asking_to_wait_is_told(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault(status=429, headers={"Retry-After": "0"}))
    assert "too many requests" in refusal(fetcher)
    assert len(fetcher.hub.requests_for(".safetensors")) == 3


@pytest.mark.parametrize(("seconds", "words"), [(LONGEST_WAIT_S + 1, "61 s"), (600, "10 minutes")])
def test_a_hub_that_asks_to_wait_for_long_is_told_at_once(
    fetcher: Fetcher, seconds: float, words: str
) -> None:
    headers = {"Retry-After": f"{seconds:.0f}"}
    fetcher.hub.faults.append(Fault(path="/api/models/", status=429, headers=headers))
    assert f"try again in {words}" in refusal(fetcher)
    assert len(fetcher.hub.requests) == 1


def test_a_login_page_in_the_hubs_place_is_told(fetcher: Fetcher) -> None:
    for body in (LOGIN_PAGE, b"{}", b"[]"):
        fetcher.hub.faults[:] = [Fault(path="/api/models/", status=200, body=body)]
        assert "Something else than the hub answered" in refusal(fetcher)


def test_no_network_is_told(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "is there a network?" in refusal(fetcher, endpoint="http://hub.invalid")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_hub_that_is_not_there_is_told(fetcher: Fetcher, closed_port: int) -> None:
    told = refusal(fetcher, endpoint=f"http://127.0.0.1:{closed_port}")
    assert "cannot be reached. Check the network" in told


@pytest.mark.usefixtures("new_session")
def test_a_proxy_that_is_not_there_is_told(
    fetcher: Fetcher, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    told = refusal(fetcher, endpoint="https://hub.invalid")
    assert "cannot be reached through the proxy that is set" in told


@pytest.mark.usefixtures("new_session")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_told(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    fetcher.hub.faults.append(Fault(path="", status=407))
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", fetcher.hub.url)
    assert "The proxy between here and the hub" in refusal(
        fetcher, endpoint=f"{scheme}://hub.invalid"
    )


def test_a_hub_that_speaks_another_protocol_is_told(fetcher: Fetcher) -> None:
    told = refusal(fetcher, endpoint=fetcher.hub.url.replace("http:", "https:"))
    assert "cannot be reached" in told


def test_a_certificate_that_is_not_trusted_is_told() -> None:
    error = httpx2.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    failure = failure_of(error, HUB_ID)
    assert failure is not None
    assert "certificate is not trusted" in failure.message
    assert failure.attempts == 1


def test_an_error_that_is_not_the_hubs_is_left_alone() -> None:
    assert failure_of(MemoryError(), HUB_ID) is None


@pytest.mark.parametrize("endpoint", ["hub", "ftp://hub", "http://"])
def test_an_endpoint_that_is_none_is_told(fetcher: Fetcher, endpoint: str) -> None:
    assert "HF_ENDPOINT" in refusal(fetcher, endpoint=endpoint)


def test_offline_mode_is_respected(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(fetcher)
    assert fetcher.hub.requests == []


def test_a_session_can_be_used_again_after_a_failure(fetcher: Fetcher, closed_port: int) -> None:
    refusal(fetcher, endpoint=f"http://127.0.0.1:{closed_port}")
    assert fetcher() == fetcher.complete()
