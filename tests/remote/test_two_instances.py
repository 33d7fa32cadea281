"""Two Sightlines as the servers of a third: one is killed midway, and taken back once it is up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from web_client import JPEG, SightlineProcess, ask, picture, read_events, wait_until

CAPTIONS = "/api/captions?max_tokens="
CLIENTS = 6


class Ended(NamedTuple):
    """How one request ended: `error` is its code, None where it was captioned."""

    shown: str
    whole: str
    error: str | None


def asked(port: int, max_tokens: int = 4) -> Ended:
    status, _, body = ask(port, "POST", f"{CAPTIONS}{max_tokens}", picture(), JPEG)
    if status != 200:
        return Ended("", "", json.loads(body)["error"]["code"])
    *tokens, (name, data) = read_events(body)
    assert {each for each, _ in tokens} <= {"token"}, "an end is the last of all"
    shown = "".join(each["text"] for _, each in tokens)
    if name == "error":
        return Ended(shown, "", data["error"]["code"])
    return Ended(shown, data["text"], None)


def status_of(port: int) -> Any:
    return json.loads(ask(port, "GET", "/api/status")[2])


def upstreams_of(port: int, field: str) -> list[Any]:
    return [each[field] for each in status_of(port)["remote"]["upstreams"]]


@contextmanager
def ready(*args: str) -> Iterator[SightlineProcess]:
    with SightlineProcess(args) as process:
        process.wait_until_ready()
        yield process


def front_of(*base_urls: str) -> SightlineProcess:
    return SightlineProcess(["--engine", "openai", "--base-url", ",".join(base_urls)])


def test_one_of_two_servers_dies_midway_and_no_caption_is_lost_without_a_word(
    endless_dir: Path,
) -> None:
    model = ("--model", str(endless_dir))
    with ready(*model) as dying, ready(*model) as survivor:
        origins = [f"http://127.0.0.1:{each.port}" for each in (dying, survivor)]
        with front_of(*origins) as front:
            assert all(origin in front.lines[0] for origin in origins)
            front.wait_until_ready()
            wait_until(lambda: all(upstreams_of(front.port, "healthy")))

            with ThreadPoolExecutor(CLIENTS) as clients:
                under_way = [clients.submit(asked, front.port, 512) for _ in range(CLIENTS)]
                wait_until(lambda: all(upstreams_of(front.port, "outstanding")))
                dying.process.kill()
                ended = [each.result() for each in under_way]
            for one in ended:
                assert one.error in (None, "upstream_down")
                assert one.error or one.whole == one.shown
            assert any(one.error is None for one in ended)

            wait_until(lambda: upstreams_of(front.port, "healthy") == [False, True])
            so_far = upstreams_of(front.port, "requests")
            assert [asked(front.port).error for _ in range(4)] == [None] * 4
            assert upstreams_of(front.port, "requests") == [so_far[0], so_far[1] + 4]

            with ready(*model, "--port", str(dying.port)):
                assert origins[0] in front.wait_for_line("answers again")
                assert [asked(front.port).error for _ in range(4)] == [None] * 4
                assert upstreams_of(front.port, "requests")[0] == so_far[0] + 2


def test_a_server_that_is_not_there_yet_is_waited_for_in_words(nano_dir: Path) -> None:
    with SightlineProcess() as gone:
        # Now nothing listens there any more.
        gone.end()
        origin = f"http://127.0.0.1:{gone.port}"
        with front_of(origin) as front:
            assert re.search(f"{origin} .+nothing listens", front.wait_for_line("Waiting"))
            status = status_of(front.port)
            assert status["state"] == "loading"
            assert "nothing listens there" in status["progress"]
            assert status["remote"]["origins"] == [origin]
            assert status["models"]["choices"] == []
            assert asked(front.port).error == "loading"
            with ready("--model", str(nano_dir), "--port", str(gone.port)):
                front.wait_until_ready()
                assert asked(front.port).error is None
