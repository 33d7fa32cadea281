"""One server that runs models: its address, health and counters, and the limits for all of them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from vlm.remote.fields import ServerFields

log = logging.getLogger("sightline")


@dataclass(frozen=True)
class UpstreamLimits:
    """Time limits of a request and of a check, and when a server is tried again."""

    connect_s: float = 5.0
    """To open a connection."""
    first_text_s: float = 120.0
    """To the first text of a server that sends nothing: includes its queue, and a model loaded by
    the first request."""
    silence_s: float = 30.0
    """Between two parts of an answer; comments and events without text are parts too."""
    answer_s: float = 600.0
    """For a whole answer."""
    ending_s: float = 2.0
    """From the finish reason of an answer to the end of its stream: the usage may follow."""
    done_s: float = 0.05
    """From `[DONE]` to the end of the stream, which comes at once if it comes."""
    tries: int = 3
    """Most times that a request is sent."""
    wait_s: float = 10.0
    """Longest wait for a server that accepts requests."""
    check_every_s: float = 10.0
    """Between two checks of a healthy server."""
    check_s: float = 5.0
    """For one check."""
    pause_s: float = 0.5
    """Pause after the first failure. It doubles with each failure in a row; jitter takes up to half
    of it away."""
    longest_pause_s: float = 15.0
    """Upper bound of that pause."""
    longest_rest_s: float = 60.0
    """Upper bound of a pause that the server sets by Retry-After."""
    faults_in_a_row: int = 3
    """After so many failed answers in a row a server is unhealthy until it passes a check."""


@dataclass(frozen=True)
class UpstreamStatus:
    """One server, as in `/api/status`."""

    origin: str
    """Scheme, host and port."""
    healthy: bool
    """It passed its last check, and answered a request since it last failed some."""
    outstanding: int
    """Requests in flight."""
    requests: int
    """Requests sent to it."""
    failures: int
    """Those of them that failed there."""
    retries: int
    """Those of the failed ones that were sent again, to whichever server."""
    model: str | None
    problem: str | None
    """The failure, as the end of a sentence that begins with `origin`."""


class Upstream:
    """The state of one server. One thread changes it; any may read `status`."""

    def __init__(self, base_url: str, model: str | None) -> None:
        """`base_url` without a path means its `/v1`; `model` None: one that it lists."""
        parts = urlsplit(base_url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base_url = base_url if parts.path else f"{base_url}/v1"
        self.model = model
        self.healthy = False
        self.problem: str | None = "has not been checked yet."
        self.outstanding = 0
        self.requests = 0
        self.failures = 0
        self.retries = 0
        self.faults_in_a_row = 0
        """Failed requests since the last one that was answered."""
        self.is_on_trial = False
        """Requests failed though it passes its checks, and none was answered since."""
        self.is_unproven = False
        """It came back by a check after failed requests, and none was answered since."""
        self.missed_checks = 0
        """Failed checks since the last one that passed."""
        self.fields = ServerFields()
        """What it takes in a request."""
        self.owner = ""
        """What serves the model, such as "vllm", if the server says it."""
        self.identity: tuple[str, ...] | None = None
        """Model and version; None before the first check that passed."""
        self.warned: set[str] = set()
        """Subjects of the warnings that were logged."""
        self.last_sent_s = 0.0
        """Time of its newest request, by `time.monotonic`."""
        self._rests_until_s = 0.0

    def warn(self, subject: str, words: str) -> None:
        """Log a sentence that begins with the server's origin, one for each `subject`."""
        if subject not in self.warned:
            self.warned.add(subject)
            log.warning("%s %s", self.origin, words)

    @property
    def rest_s(self) -> float:
        """Seconds until it may get requests again; 0 if it may now."""
        return max(0.0, self._rests_until_s - time.monotonic())

    def rest(self, rest_s: float) -> None:
        """Send nothing to it for `rest_s` seconds."""
        self._rests_until_s = time.monotonic() + rest_s

    def status(self) -> UpstreamStatus:
        """Return a snapshot."""
        return UpstreamStatus(
            origin=self.origin,
            # Else a server that lists its models and fails each request comes back by turns.
            healthy=self.healthy and not self.is_on_trial,
            outstanding=self.outstanding,
            requests=self.requests,
            failures=self.failures,
            retries=self.retries,
            model=self.model,
            problem=self.problem,
        )
