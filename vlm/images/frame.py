"""One frame of one camera, with what is known of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from PIL import Image

from vlm.types import ClaimCheck, Detail, Exchange, Kind, Reading, Request


@dataclass(frozen=True)
class Frame:
    """An image as `decode_image` returns it, and where and when it was captured.

    It lives as long as its request and the record of it; copy a frame to keep it longer.
    """

    image: Image.Image
    camera: str | None = None
    """Name of the camera, None if unknown."""
    captured_at: float = field(default_factory=time.time)
    """Seconds since 1970; by default now, for a frame that arrives as it is captured."""
    source: str = ""
    """What the camera is, in words of the page: "Front door"; empty if unknown."""
    change_score: float | None = None
    """Share of the thumbnail's cells that changed since the last captioned frame, 0 to 1."""

    def request(
        self,
        prompt: str,
        max_tokens: int,
        detail: Detail = "low",
        kind: Kind = "question",
        reading: Reading | None = None,
        stop_loops: bool = False,
        turns: tuple[Exchange, ...] = (),
        sure: bool = False,
        claims: ClaimCheck = "off",
        explain: bool = False,
        begin: str = "",
        top_logprobs: int | None = None,
    ) -> Request:
        """Return a request with one question about this frame, after earlier `turns` about it.

        The fields are those of `AnswerTask`; the answer goes on from `begin`.
        """
        request = Request.about(
            self.image, prompt, max_tokens, detail, self.camera, kind, turns, begin
        )
        task = replace(
            request.answer_task,
            reading=reading,
            stop_loops=stop_loops,
            sure=sure,
            claims=claims,
            explain=explain,
            top_logprobs=top_logprobs,
        )
        return replace(request, frame=self, task=task)
