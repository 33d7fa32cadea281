"""Two Sightlines as the servers of a third, which starts before them; one is killed, and restarted.

One test, because each start of a process takes seconds.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from web_client import JPEG, SightlineProcess, ask, free_port, picture, read_events, wait_until

CLIENTS = 6


class Ending(NamedTuple):
    """The ending of one request."""

    shown: str
    """Its tokens."""
    text: str
    """Its whole caption."""
    error: str | None
    """The code of its error, None if it was captioned."""


def request_caption(port: int, max_tokens: int = 4) -> Ending:
    path = f"/api/captions?max_tokens={max_tokens}"
    status, _, body = ask(port, "POST", path, picture(), JPEG)
    if status != 200:
        return Ending("", "", json.loads(body)["error"]["code"])
    *tokens, (name, data) = read_events(body)
    assert {each for each, _ in tokens} <= {"token"}, "something came before the end"
    shown = "".join(each["text"] for _, each in tokens)
    if name == "error":
        return Ending(shown, "", data["error"]["code"])
    return Ending(shown, data["text"], None)


def status_of(port: int) -> Any:
    return json.loads(ask(port, "GET", "/api/status")[2])


def upstream_fields(port: int, field: str) -> list[Any]:
    return [each[field] for each in status_of(port)["remote"]["upstreams"]]


def test_captions_survive_late_starts_and_the_death_of_one_of_two_servers(
    endless_dir: Path,
) -> None:
    ports = free_port(), free_port()
    origins = [f"http://127.0.0.1:{port}" for port in ports]

    def server(port: int) -> SightlineProcess:
        args = ["--model", str(endless_dir), "--runtime", "torch", "--port", str(port)]
        return SightlineProcess(args)

    with SightlineProcess(["--engine", "openai", "--base-url", ",".join(origins)]) as front:
        assert all(origin in front.lines[0] for origin in origins)
        assert re.search(f"{origins[0]} .+nothing listens", front.wait_for_line("Waiting"))
        status = status_of(front.port)
        assert status["state"] == "loading"
        assert "nothing listens there" in status["progress"]
        assert status["remote"]["origins"] == origins
        assert status["models"]["choices"] == []
        assert request_caption(front.port).error == "loading"

        with server(ports[0]) as dying, server(ports[1]):
            front.wait_until_ready()
            wait_until(lambda: all(upstream_fields(front.port, "healthy")))

            with ThreadPoolExecutor(CLIENTS) as clients:
                in_flight = [
                    clients.submit(request_caption, front.port, 256) for _ in range(CLIENTS)
                ]
                wait_until(lambda: all(upstream_fields(front.port, "outstanding")))
                dying.process.kill()
                endings = [each.result() for each in in_flight]
            for ending in endings:
                assert ending.error in (None, "upstream_down")
                assert ending.error or ending.text == ending.shown
            assert any(ending.error is None for ending in endings)

            wait_until(lambda: upstream_fields(front.port, "healthy") == [False, True])
            before = upstream_fields(front.port, "requests")
            assert [request_caption(front.port).error for _ in range(4)] == [None] * 4
            assert upstream_fields(front.port, "requests") == [before[0], before[1] + 4]

            with server(ports[0]):
                wait_until(lambda: all(upstream_fields(front.port, "healthy")))
                front.wait_for_line(f"{origins[0]} answers again")
                assert [request_caption(front.port).error for _ in range(4)] == [None] * 4
                assert upstream_fields(front.port, "requests")[0] == before[0] + 2
