"""What travels between the web side and the engine: plain values, standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from PIL import Image

Detail = Literal["low", "high"]
Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]
Outcome = Literal["done", "cancelled", "superseded", "refused", "failed"]
EngineState = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat: texts and images in the order in which they are said.

    Each image is a bounded RGB image as `vlm.images.decode.decode_image` returns it.
    """

    role: Role
    parts: tuple[str | Image.Image, ...]


@dataclass(frozen=True)
class Sampling:
    """How each token is chosen: `temperature` 0 takes the likeliest.

    Above 0, up to 2, tokens are drawn out of the likeliest ones that have `top_p` (above 0, up to
    1) of the probability together; the same `seed` draws the same.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


GREEDY: Final = Sampling()


@dataclass(frozen=True)
class Request:
    """What is asked, about which images.

    `detail` is "low" for one tile an image (a live frame) or "high" for the checkpoint's own
    tiling. `camera` names who asks, None nobody in particular; a `live` frame gives way to a newer
    one of its camera, a question does not. The answer ends before the first of the `stop` texts.
    `top_logprobs`, 0 to 20, asks for the logprob of each token and of so many others. With
    `json_object` the answer is one JSON object.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    detail: Detail = "low"
    camera: str | None = None
    live: bool = False
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    json_object: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest tokens, and nothing else, are the answer."""
        return self.sampling.temperature == 0 and self.top_logprobs is None and not self.json_object

    @classmethod
    def about(
        cls,
        image: Image.Image,
        prompt: str,
        max_tokens: int,
        detail: Detail = "low",
        camera: str | None = None,
        live: bool = False,
    ) -> Request:
        """One question about one frame, as the page asks it."""
        messages = (Message("user", (image, prompt)),)
        return cls(messages, max_tokens, detail=detail, camera=camera, live=live)


@dataclass(frozen=True)
class TokenLogprob:
    """One token, its natural log probability, and the likeliest ones in its place.

    `token` is its text, `token_bytes` the UTF-8 that it stands for, which may be part of a
    character.
    """

    token: str
    token_bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class TokenChunk:
    """Text that became complete (whole UTF-8 characters) with the newest tokens; never empty.

    `logprobs` are of the tokens since the last chunk, where they were asked for.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


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
class Result:
    """The last item of a stream: the whole text, why it ended and what it cost."""

    text: str
    finish_reason: FinishReason
    stats: Stats


StreamEvent = TokenChunk | Result


@dataclass(frozen=True)
class EngineInfo:
    """What is loaded, as `/api/status` tells it; `frame_size_px`: longest side worth sending.

    `remote` are the origins that frames are sent to, none where the model runs here.
    """

    model: str
    runtime: str
    device: str
    dtype: str
    frame_size_px: int
    remote: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """How one request ended; `stats` only where it was answered."""

    outcome: Outcome
    live: bool
    queued_s: float
    error_code: str | None = None
    finish_reason: FinishReason | None = None
    stats: Stats | None = None


class Subscriber(Protocol):
    """Is told what the worker does. It must be quick and must not raise."""

    def request_ended(self, record: Record) -> None:
        """One request is over. From any thread: who waits may be refused, replaced or leave."""

    def pass_ran(self, batch_size: int) -> None:
        """So many requests were advanced together by one step; from the worker's thread."""
