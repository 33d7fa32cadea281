"""How long the servers are waited for, and how often they are asked again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times in seconds.

    `connect_s` bounds how long a connection takes, `first_text_s` how long an answer takes to begin
    (a queue is in it, and a model that is loaded by the first request), `silence_s` each wait
    within it, `answer_s` all of it, and `ending_s` how long the connection takes to end after it.

    A request is sent at most `tries` times, and waits at most `wait_s` for a server that takes
    requests. A server that answers is asked for its models every `check_every_s` and has `check_s`
    for that. After its nth failure in a row it is left alone for `pause_s` * 2**(n - 1), at most
    `longest_pause_s`, and of that a half to all, by chance; where it asks for a time of its own,
    for that, at most `longest_rest_s`. After `faults_in_a_row` answers that were none it is left
    out until it passes a check.
    """

    connect_s: float = 5.0
    first_text_s: float = 120.0
    silence_s: float = 30.0
    answer_s: float = 600.0
    ending_s: float = 2.0
    tries: int = 3
    wait_s: float = 10.0
    check_every_s: float = 10.0
    check_s: float = 5.0
    pause_s: float = 0.5
    longest_pause_s: float = 15.0
    longest_rest_s: float = 60.0
    faults_in_a_row: int = 3
