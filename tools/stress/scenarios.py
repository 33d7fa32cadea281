"""The hostile clients, and a friendly one whose captions are timed meanwhile."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext, suppress
from itertools import cycle
from typing import Final

import numpy as np

from tools.bench.over_http import HOST
from tools.stress.chats import mutated_chats
from tools.stress.pictures import (
    encoded,
    largest_chat,
    largest_picture,
    mixed_pictures,
    mutated_bodies,
    slow_pictures,
    smooth,
)
from tools.stress.senders import senders
from tools.stress.server import ServerProcess

Figures = dict[str, float | None]
Say = Callable[[str], None]

TIMEOUT_S: Final = 30.0
_JPEG: Final = {"Content-Type": "image/jpeg"}
_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_JSON: Final = {"Content-Type": "application/json"}
_CAPTIONS: Final = "/api/captions?max_tokens=16"
_SHORT_CAPTIONS: Final = "/api/captions?max_tokens=1"
_SENDERS: Final = 8
_IDLE: Final = 1000
# As many as wait and run with the default settings.
_MOST_HELD: Final = 96
_HELD_TIMEOUT_S: Final = 300.0


def caption_times(server: ServerProcess, seconds: float) -> list[float]:
    """Caption frames in turn for `seconds`; return the time of each, TIMEOUT_S if it failed."""
    times: list[float] = []
    frames = [encoded(smooth(640, 480, number), "JPEG") for number in range(8)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        status = 0
        with suppress(OSError, http.client.HTTPException):
            status = _post(server, frames[len(times) % len(frames)], _JPEG)
        times.append(time.perf_counter() - started if status == 200 else TIMEOUT_S)
    return times


def _post(
    server: ServerProcess,
    body: bytes,
    headers: dict[str, str],
    path: str = _CAPTIONS,
    timeout_s: float = TIMEOUT_S,
    sending: threading.Semaphore | None = None,
) -> int:
    """Return the status of the answer, read to its end; the request is sent within `sending`."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=timeout_s)
    try:
        with sending or nullcontext():
            connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _ratio(beside: list[float], alone: list[float]) -> float:
    """Return the 95th percentile of `beside` over that of `alone`."""
    return float(np.quantile(beside, 0.95) / np.quantile(alone, 0.95))


def unread(server: ServerProcess, seconds: float, connections: int) -> Figures:
    """Captions beside connections that pipeline requests in one segment and read nothing."""
    alone = caption_times(server, min(15.0, seconds))
    request = f"GET /openapi.json HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode()
    segment = request * (8192 // len(request))
    with ExitStack() as held:
        for _ in range(connections):
            opened = held.enter_context(socket.create_connection((HOST, server.port), TIMEOUT_S))
            opened.sendall(segment)
        beside = caption_times(server, seconds)
    return {"unread_p95_ratio": _ratio(beside, alone), "unread_captions": len(beside)}


def idle(server: ServerProcess, seconds: float) -> Figures:
    """Captions beside a thousand connections that have had one answer and stay open."""
    alone = caption_times(server, min(15.0, seconds))
    request = f"GET /healthz HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode()
    with ExitStack() as held:
        for _ in range(_IDLE):
            opened = held.enter_context(socket.create_connection((HOST, server.port), TIMEOUT_S))
            opened.sendall(request)
            opened.recv(4096)
        # The server closes idle connections after 30 s.
        beside = caption_times(server, min(15.0, seconds))
    return {"idle_p95_ratio": _ratio(beside, alone), "idle_captions": len(beside)}


def half(server: ServerProcess, seconds: float, connections: int) -> Figures:
    """Captions beside connections that send half a head, or half a body, and then a byte a second.

    One that the server cuts is opened again.
    """
    alone = caption_times(server, min(15.0, seconds))
    head = f"POST {_CAPTIONS} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\nX-Slow: ".encode()
    body = head + b"1\r\nContent-Length: 4000000\r\n\r\n" + bytes(100_000)
    opened: list[socket.socket | None] = [None] * connections
    done = threading.Event()
    begun = 0

    def open_again(number: int) -> None:
        nonlocal begun
        begun += 1
        one = socket.create_connection((HOST, server.port), TIMEOUT_S)
        one.sendall((head, body)[number % 2])
        opened[number] = one

    def trickle() -> None:
        while True:
            for number, one in enumerate(opened):
                try:
                    if one is None:
                        open_again(number)
                    else:
                        one.sendall(b"1")
                except OSError:
                    if one is not None:
                        one.close()
                    opened[number] = None
            if done.wait(1.0):
                return

    with ThreadPoolExecutor(1) as pool:
        trickling = pool.submit(trickle)
        beside = caption_times(server, seconds)
        done.set()
        trickling.result()
    for one in opened:
        if one is not None:
            one.close()
    return {
        "half_p95_ratio": _ratio(beside, alone),
        "half_captions": len(beside),
        "half_opened": begun,
    }


def slow(server: ServerProcess, seconds: float) -> Figures:
    """Captions beside eight clients that send the slowest accepted pictures in a loop."""
    pictures = list(slow_pictures().values())
    alone = caption_times(server, min(15.0, seconds))
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def send(number: int) -> None:
        while not done.is_set():
            status = -1
            with suppress(OSError, http.client.HTTPException):
                status = _post(server, pictures[number % len(pictures)], _OCTETS)
            statuses[status] += 1

    with ThreadPoolExecutor(_SENDERS) as pool:
        for number in range(_SENDERS):
            pool.submit(send, number)
        beside = caption_times(server, seconds)
        done.set()
    return {
        "slow_p95_ratio": _ratio(beside, alone),
        "slow_captioned": statuses[200],
        "slow_others": sum(statuses.values()) - statuses[200],
    }


def left(server: ServerProcess) -> Figures:
    """Processor time that is spent 2 to 4 s after eight clients sent slow pictures and left."""
    pictures = list(slow_pictures().values())
    idle = _processor_share(server)
    for number in range(_SENDERS):
        body = pictures[number % len(pictures)]
        with socket.create_connection((HOST, server.port), TIMEOUT_S) as opened:
            head = f"POST {_CAPTIONS} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
            opened.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    time.sleep(2.0)
    return {"left_processor_s": max(0.0, _processor_share(server) - idle)}


def _processor_share(server: ServerProcess) -> float:
    """Return the seconds of processor time of the next two seconds."""
    before = server.processor_s()
    time.sleep(2.0)
    return server.processor_s() - before


def memory(server: ServerProcess, pictures: int, warm_up: int) -> Figures:
    """Resident memory after `pictures` mixed ones, to that after the first `warm_up`."""
    bodies = mixed_pictures(pictures)
    with senders(server, TIMEOUT_S) as post_all:
        warming = zip(range(warm_up), bodies, strict=False)
        post_all((_SHORT_CAPTIONS, body, _OCTETS) for _, body in warming)
        warm_mb = server.memory_mb()
        post_all((_SHORT_CAPTIONS, body, _OCTETS) for body in bodies)
    last_mb = server.memory_mb()
    return {"memory_ratio": last_mb / warm_mb, "memory_warm_mb": warm_mb, "memory_mb": last_mb}


def held(server: ServerProcess) -> Figures:
    """Largest resident memory while as many of the largest requests as are admitted are held."""
    requests = [
        (largest_picture(), _JPEG, _CAPTIONS),
        (json.dumps(largest_chat()).encode(), _JSON, "/v1/chat/completions"),
    ]
    # Else the server cuts the oldest of the incomplete requests.
    sending = threading.Semaphore(_SENDERS)
    before_mb = peak_mb = server.memory_mb()
    with ThreadPoolExecutor(_MOST_HELD) as pool:
        sent = [
            pool.submit(_post, server, *request, _HELD_TIMEOUT_S, sending)
            for request, _ in zip(cycle(requests), range(_MOST_HELD), strict=False)
        ]
        while wait(sent, 0.02).not_done:
            peak_mb = max(peak_mb, server.memory_mb())
    statuses = Counter(each.result() if each.exception() is None else 0 for each in sent)
    return {
        "held_before_mb": before_mb,
        "held_peak_mb": peak_mb,
        "held_answered": statuses[200],
        "held_refused": statuses[503],
        "held_others": _MOST_HELD - statuses[200] - statuses[503],
    }


def mutated(server: ServerProcess, bodies: int) -> Figures:
    """Answers to mutated bodies: how many of 5xx (503 apart), the slowest, and crashes."""
    with senders(server, TIMEOUT_S) as post_all:
        found = post_all(
            (_SHORT_CAPTIONS, body, {"Content-Type": kind}) for body, kind in mutated_bodies(bodies)
        )
    return _outcomes("mutated", found, server)


def chats(server: ServerProcess, bodies: int) -> Figures:
    """Answers to chats that were changed at random, as those to `mutated` bodies."""
    with senders(server, TIMEOUT_S) as post_all:
        found = post_all((path, body, _JSON) for path, body in mutated_chats(bodies))
    return _outcomes("chats", found, server)


def _outcomes(name: str, found: list[tuple[int, float]], server: ServerProcess) -> Figures:
    statuses = Counter(status for status, _ in found)
    return {
        f"{name}_5xx": sum(n for status, n in statuses.items() if status >= 500 and status != 503),
        f"{name}_unanswered": statuses[0],
        f"{name}_answered": statuses[200],
        f"{name}_slowest_s": max(taken_s for _, taken_s in found),
        f"{name}_crashes": float(not server.is_running()),
    }
