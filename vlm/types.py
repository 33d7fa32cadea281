"""What travels between the web side and the engine: plain values, standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

Detail = Literal["low", "high"]
FinishReason = Literal["stop", "length", "cancelled"]
EngineState = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class CaptionRequest:
    """One question about one frame.

    `image` is a bounded RGB image as `vlm.images.decode_image` returns it. `detail` is "low" for
    one tile (a live frame) or "high" for the checkpoint's own tiling. `camera` names who asks, so
    that requests of one camera can be told from another's.
    """

    image: Image.Image
    prompt: str
    max_tokens: int
    detail: Detail = "low"
    camera: str = "default"


@dataclass(frozen=True)
class TokenChunk:
    """Text that became complete (whole UTF-8 characters) with the newest tokens; never empty."""

    text: str


@dataclass(frozen=True)
class Stats:
    """What one caption cost. Times are seconds of wall clock, counts are tokens.

    `ttft_s` runs from the start of the engine's work on the request to its first token (0.0 where
    none came), `queued_s` is the wait before that, `total_s` is the engine's whole work without the
    wait. `tokens` counts what was generated, the end token excluded; `tokens_per_s` is that number
    over `total_s`. `drafted` tokens were guessed from an older answer and checked many in one pass,
    `accepted` of them were right.
    """

    ttft_s: float
    tokens_per_s: float
    image_tokens: int
    prompt_tokens: int
    tokens: int
    drafted: int
    accepted: int
    queued_s: float
    total_s: float


@dataclass(frozen=True)
class CaptionDone:
    """The last item of a stream: the whole text, why it ended and what it cost."""

    text: str
    finish_reason: FinishReason
    stats: Stats


StreamItem = TokenChunk | CaptionDone


@dataclass(frozen=True)
class EngineInfo:
    """What is loaded, as `/api/status` tells it; `frame_size_px`: longest side worth sending."""

    model: str
    runtime: str
    device: str
    dtype: str
    frame_size_px: int
