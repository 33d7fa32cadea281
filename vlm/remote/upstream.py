"""One server that models run on: where it is, whether it answers, and what has been asked of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class UpstreamStatus:
    """One server, as `/api/status` tells of it.

    `requests` counts what was sent to it, `failures` those that came to nothing there, and
    `retries` those of them that were sent again, to whichever server. `problem` says what is the
    matter with it, as words that go on after `origin`.
    """

    origin: str
    healthy: bool
    outstanding: int
    requests: int
    failures: int
    retries: int
    model: str | None
    problem: str | None


class Upstream:
    """One server. Changed from one thread only; `status` may be asked for from any."""

    def __init__(self, base_url: str, model: str | None) -> None:
        """`base_url` without a path means its `/v1`; `model` is None for whichever it serves."""
        parts = urlsplit(base_url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base_url = base_url if parts.path else f"{base_url}/v1"
        self.model = model
        self.healthy = False
        self.problem: str | None = "has not been asked yet."
        self.outstanding = 0
        self.requests = 0
        self.failures = 0
        self.retries = 0
        # Requests that came to nothing since one was answered, and checks since one was passed.
        self.faults_in_a_row = 0
        self.missed_checks = 0
        # Fields of a request that it was found not to take.
        self.untaken_fields: set[str] = set()
        self.last_sent_s = 0.0
        self._rests_until_s = 0.0

    @property
    def rest_s(self) -> float:
        """How long it still asks to be left alone."""
        return max(0.0, self._rests_until_s - time.monotonic())

    def rest(self, rest_s: float) -> None:
        """Leave it alone so long from now on."""
        self._rests_until_s = time.monotonic() + rest_s

    def status(self) -> UpstreamStatus:
        """How it is now."""
        return UpstreamStatus(
            origin=self.origin,
            healthy=self.healthy,
            outstanding=self.outstanding,
            requests=self.requests,
            failures=self.failures,
            retries=self.retries,
            model=self.model,
            problem=self.problem,
        )
