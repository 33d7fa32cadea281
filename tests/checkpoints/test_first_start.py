"""Laws of the first start, from an empty home to a published model, with a real server and hub."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fetcher import assert_nothing_half

from hub_server import Fault, HubServer
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.network.certificates import CERTIFICATE_VARIABLES
from web_client import HANG_GUARD_S, JPEG, SightlineProcess, ask, picture, read_events, wait_until

HUB_ID = "HuggingFaceTB/SmolVLM-256M-Instruct"
NAME = "smolvlm-256m"
# So slow that the bundled model captions first, however long it takes to load.
SLOW_BYTES_PER_S = 150_000
JSON = {"Content-Type": "application/json"}
FAULTS = [
    (Fault(cut_after_bytes=0), "fetch_failed", "localhost, where the hub keeps the weights, broke"),
    (
        Fault("/cdn/", status=200, body=b"<html>Blocked</html>"),
        "fetch_failed",
        "Something other than the hub answered",
    ),
    (Fault("/cdn/", status=403), "fetch_failed", "A firewall must allow localhost"),
    (Fault(truncate_to_bytes=100_000), "fetch_failed", "less of a file"),
    (Fault(wrong_content=True), "fetch_failed", "checksum"),
    (Fault("/api/models/", status=401), "fetch_failed", "401"),
    (Fault("/api/models/", status=404), "fetch_failed", "404"),
    (Fault("/api/models/", status=429, headers={"Retry-After": "7200"}), "fetch_failed", "429"),
    (Fault("/api/models/", status=500), "fetch_failed", "500"),
]


class Person:
    """Sends a running server the requests of its page."""

    def __init__(self, sightline: SightlineProcess) -> None:
        self.sightline = sightline
        self.port = sightline.port

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(ask(self.port, "GET", "/api/status")[2])
        return status

    def models(self) -> dict[str, Any]:
        models: dict[str, Any] = self.status()["models"]
        return models

    def choice(self) -> dict[str, Any]:
        return next(each for each in self.models()["choices"] if each["name"] == NAME)

    def does(self, what: str, **body: str) -> int:
        sent = json.dumps(body).encode()
        return ask(self.port, "POST", f"/api/models/{what}", sent, JSON)[0]

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        wait_until(lambda: condition(self.status()))

    def wait_for_the_end(self) -> None:
        self.wait_for(lambda status: status["models"]["change"] is None)

    def gets_a_caption(self) -> bool:
        path = "/api/captions?max_tokens=4"
        return read_events(ask(self.port, "POST", path, picture(), JPEG)[2])[-1][0] == "done"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty HF_HOME, whose cache must be consistent at the end."""
    folder = tmp_path / "home"
    yield folder
    assert_nothing_half(folder / "hub")


@pytest.fixture
def hub(repository: Path) -> Iterator[HubServer]:
    with HubServer({HUB_ID: repository}) as server:
        yield server


@contextmanager
def person_at(
    hub: HubServer, home: Path, *args: str, env: Mapping[str, str] | None = None
) -> Iterator[Person]:
    env = hub.env(home) | {"SIGHTLINE_OFFLINE": "0"} | dict(env or {})
    with SightlineProcess(["--device", "cpu", *args], env) as sightline:
        sightline.wait_until_ready()
        yield Person(sightline)


def test_first_start_ends_with_the_published_model(hub: HubServer, home: Path) -> None:
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with person_at(hub, home) as person:
        assert person.status()["model"] == "nano"
        hub.bytes_per_s = None
        person.sightline.wait_for_line("Loading SmolVLM 256M; the current model")
        assert f"captions by {NAME}" in person.sightline.wait_for_line("From here on")
        person.wait_for_the_end()
        assert person.models()["problem"] is None
        assert person.choice()["here"]
        assert person.gets_a_caption()
    asked = len(hub.requests)
    with person_at(hub, home) as person:
        assert person.status()["model"] == NAME
        assert person.gets_a_caption()
    assert len(hub.requests) == asked


def test_bundled_model_captions_through_each_failure_of_the_hub(hub: HubServer, home: Path) -> None:
    hub.faults[:] = [FAULTS[0][0]]
    with person_at(hub, home) as person:
        for fault, code, words in FAULTS:
            if fault is not FAULTS[0][0]:
                hub.faults[:] = [fault]
                assert person.does("switch", model=NAME) == 202
            person.wait_for_the_end()
            status = person.status()
            assert (status["state"], status["model"]) == ("ready", "nano")
            problem = status["models"]["problem"]
            assert (problem["model"], problem["code"]) == (NAME, code)
            assert words in problem["message"]
            assert person.gets_a_caption()
            assert not person.choice()["here"]
        assert person.does("dismiss") == 200
        assert person.models()["problem"] is None
        hub.faults.clear()
        assert person.does("switch", model=NAME) == 202
        person.wait_for_the_end()
        assert person.status()["model"] == NAME
        assert person.gets_a_caption()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTP_PROXY", "quic://proxy", "The proxy in HTTP_PROXY is of the kind quic"),
        ("ALL_PROXY", "http://proxy:port", "The text in ALL_PROXY is not the address of a proxy"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1", "The proxy in HTTPS_PROXY cannot be reached"),
        ("SSL_CERT_FILE", "gone.pem", "SSL_CERT_FILE names gone.pem, which does not exist"),
        ("CURL_CA_BUNDLE", "README.md", "CURL_CA_BUNDLE names README.md, which holds no cert"),
        ("HF_ENDPOINT", "hub", "HF_ENDPOINT is not the address of a hub"),
    ],
)
def test_bundled_model_captions_in_each_faulty_environment(
    hub: HubServer, home: Path, variable: str, value: str, words: str
) -> None:
    scheme = "http" if variable in ("HTTP_PROXY", "ALL_PROXY") else "https"
    env = {name: "" for name in (*CERTIFICATE_VARIABLES, "NO_PROXY", "no_proxy")}
    env |= {"HF_ENDPOINT": f"{scheme}://hub.invalid", variable: value}
    with person_at(hub, home, env=env) as person:
        person.wait_for_the_end()
        status = person.status()
        assert (status["state"], status["model"]) == ("ready", "nano")
        assert status["models"]["problem"]["code"] == "fetch_failed"
        message = status["models"]["problem"]["message"]
        assert words in message
        assert person.gets_a_caption()
        person.sightline.process.send_signal(signal.SIGINT)
        told = person.sightline.process.communicate(timeout=HANG_GUARD_S)[1]
        assert told == f"SmolVLM 256M: {message}\n"
    assert hub.requests == []


def test_killed_server_resumes_the_download_at_its_next_start(hub: HubServer, home: Path) -> None:
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with person_at(hub, home) as person:
        person.wait_for(lambda status: status["models"]["change"]["received_bytes"] > 400_000)
    assert_nothing_half(home / "hub")
    hub.bytes_per_s = None
    with person_at(hub, home) as person:
        person.wait_for(lambda status: status["model"] == NAME)
        assert person.gets_a_caption()
    first, second = (each.first_byte for each in hub.requests_for(WEIGHTS_FILE))
    assert first == 0
    assert second > 200_000


def test_cancelled_download_is_no_problem_and_its_part_is_kept(hub: HubServer, home: Path) -> None:
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with person_at(hub, home) as person:
        person.wait_for(lambda status: status["models"]["change"]["received_bytes"] > 400_000)
        assert person.does("switch", model="nano") == 409
        assert person.does("cancel") == 200
        person.wait_for_the_end()
        assert person.models()["problem"] is None
        assert person.status()["model"] == "nano"
        assert person.choice()["received_bytes"] > 400_000
        assert person.gets_a_caption()


def test_bundled_model_captions_while_a_named_model_is_downloaded(
    hub: HubServer, home: Path, repository: Path
) -> None:
    named = "someone/their-own"
    hub.repositories[named] = repository
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with person_at(hub, home, "--model", named) as person:
        assert person.status()["model"] == "nano"
        assert person.gets_a_caption()
        hub.bytes_per_s = None
        person.wait_for(lambda status: status["model"] == named)
        assert person.gets_a_caption()


def test_bundled_model_captions_if_another_architecture_is_named(
    hub: HubServer, home: Path, repository: Path
) -> None:
    (repository / "config.json").write_text('{"model_type": "llama"}')
    with person_at(hub, home, "--model", HUB_ID) as person:
        person.wait_for_the_end()
        problem = person.models()["problem"]
        assert problem["code"] == "bad_checkpoint"
        assert "'llama'" in problem["message"]
        assert str(home) not in problem["message"]
        assert person.gets_a_caption()
        person.sightline.process.send_signal(signal.SIGINT)
        told = person.sightline.process.communicate(timeout=HANG_GUARD_S)[1]
        assert told == f"SmolVLM 256M: {problem['message']}\n"
    assert hub.requests_for(WEIGHTS_FILE) == []


def test_bundled_model_captions_if_the_folder_is_no_checkpoint(
    hub: HubServer, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "SmolVLM-Q8_0.gguf").write_bytes(b"GGUF")
    with person_at(hub, home, "--model", str(folder)) as person:
        assert person.status()["model"] == "nano"
        problem = person.models()["problem"]
        assert (problem["model"], problem["code"]) == ("downloaded", "bad_checkpoint")
        assert "holds GGUF weights" in problem["message"]
        assert person.gets_a_caption()
        person.sightline.process.send_signal(signal.SIGINT)
        told = person.sightline.process.communicate(timeout=HANG_GUARD_S)[1]
        assert told == f"downloaded: {problem['message']}\n"
    assert hub.requests == []


def test_offline_server_sends_the_hub_no_request(hub: HubServer, home: Path) -> None:
    with person_at(hub, home, "--offline") as person:
        assert person.does("switch", model=NAME) == 409
        assert person.models()["change"] is None
        assert person.gets_a_caption()
    assert hub.requests == []
