"""Run the scenarios against one server each; print a table and, last, one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Final

import click

from tools.bench.machine import describe_machine
from tools.stress import scenarios
from tools.stress.server import ServerProcess, stressed_server
from vlm.errors import SightlineError

# Key of the figure, label, target ("" if it only informs).
FIGURES: Final = (
    ("unread_p95_ratio", "captions beside connections that read nothing, p95 to alone", "<= 1.5"),
    ("unread_captions", "captions in that time", ""),
    ("idle_p95_ratio", "captions beside 1,000 idle connections, p95 to alone", "<= 1.1"),
    ("idle_captions", "captions in that time", ""),
    ("half_p95_ratio", "captions beside half-sent heads and bodies, p95 to alone", "<= 1.5"),
    ("half_captions", "captions in that time", ""),
    ("half_opened", "half-sent requests in that time", ""),
    ("slow_p95_ratio", "captions beside eight senders of slow pictures, p95 to alone", "<= 3"),
    ("slow_captioned", "slow pictures captioned", ""),
    ("slow_others", "slow pictures without a caption", ""),
    ("left_processor_s", "processor time 2 s after senders of slow pictures left, s", "0"),
    ("memory_ratio", "memory after the mixed pictures, to that after warm-up", "<= 1.05"),
    ("memory_warm_mb", "memory after warm-up, MB", ""),
    ("memory_mb", "memory at the end, MB", ""),
    ("held_before_mb", "memory before the largest requests, MB", ""),
    ("held_peak_mb", "largest memory while 96 of them are in flight, MB", ""),
    ("held_answered", "largest requests answered", ""),
    ("held_refused", "largest requests refused with 503", ""),
    ("held_others", "largest requests without either", "0"),
    ("mutated_5xx", "mutated bodies: answers of 5xx", "0"),
    ("mutated_unanswered", "mutated bodies: no answer", ""),
    ("mutated_answered", "mutated bodies: captioned", ""),
    ("mutated_slowest_s", "mutated bodies: slowest answer, s", "<= 1"),
    ("mutated_crashes", "mutated bodies: crashes", "0"),
    ("chats_5xx", "mutated chats: answers of 5xx", "0"),
    ("chats_unanswered", "mutated chats: no answer", ""),
    ("chats_answered", "mutated chats: answered", ""),
    ("chats_slowest_s", "mutated chats: slowest answer, s", ""),
    ("chats_crashes", "mutated chats: crashes", "0"),
)
NAMES: Final = ("unread", "idle", "half", "slow", "left", "memory", "held", "mutated", "chats")


@click.command()
@click.option("--only", type=click.Choice(NAMES), multiple=True, help="these scenarios alone")
@click.option("--seconds", type=click.FloatRange(1, 600), default=60.0, show_default=True)
@click.option("--connections", type=click.IntRange(1, 2000), default=300, show_default=True)
@click.option("--pictures", type=click.IntRange(10, 100_000), default=20_000, show_default=True)
@click.option("--warm-up", type=click.IntRange(1, 10_000), default=1000, show_default=True)
@click.option("--bodies", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True)
def main(
    only: tuple[str, ...],
    seconds: float,
    connections: int,
    pictures: int,
    warm_up: int,
    bodies: int,
) -> None:
    """Send what hostile clients send to a server of this machine, bounded in count and time."""
    runs: dict[str, Callable[[ServerProcess], scenarios.Figures]] = {
        "unread": lambda server: scenarios.unread(server, seconds, connections),
        "idle": lambda server: scenarios.idle(server, seconds),
        "half": lambda server: scenarios.half(server, seconds, connections),
        "slow": lambda server: scenarios.slow(server, seconds),
        "left": scenarios.left,
        "memory": lambda server: scenarios.memory(server, pictures, warm_up),
        "held": scenarios.held,
        "mutated": lambda server: scenarios.mutated(server, bodies),
        "chats": lambda server: scenarios.chats(server, bodies),
    }
    found: scenarios.Figures = {}
    for name in only or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with stressed_server() as server:
            found |= runs[name](server)
    for key, label, target in FIGURES:
        if key in found:
            print(f"{label:<62} {found[key]:>10.3f}  {target}")
    print(json.dumps({"machine": describe_machine(), **found}))


if __name__ == "__main__":
    try:
        main()
    except SightlineError as error:
        raise SystemExit(f"tools.stress: {error}") from None
