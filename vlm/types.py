"""Values that travel between the rooms: requests, events of a stream, results, statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from PIL import Image

    from vlm.images.frame import Frame

Detail = Literal["low", "high"]
Role = Literal["system", "user", "assistant"]
Kind = Literal["live", "question", "background"]
FinishReason = Literal["stop", "length", "cancelled"]
Outcome = Literal["done", "cancelled", "superseded", "refused", "failed"]
EngineState = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    parts: tuple[str | Image.Image, ...]
    """Texts and images in order; each image as `vlm.images.decode.decode_image` returns it."""


@dataclass(frozen=True)
class Sampling:
    """Parameters of sampling."""

    temperature: float = 0.0
    """0 to 2; 0 takes the argmax."""
    top_p: float = 1.0
    """Above 0, up to 1: tokens are drawn from the likeliest ones with this probability together."""
    seed: int | None = None
    """The same seed draws the same tokens."""


GREEDY: Final = Sampling()


@dataclass(frozen=True)
class AnswerTask:
    """Answer a chat in text."""

    messages: tuple[Message, ...]
    max_tokens: int
    detail: Detail = "low"
    """"low": one tile for each image (a live frame). "high": the checkpoint's own tiling."""
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""
    top_logprobs: int | None = None
    """0 to 20: return the log probability of each token and of so many alternatives."""
    json_object: bool = False
    """The answer is one JSON object."""

    @property
    def is_greedy(self) -> bool:
        """Return whether the argmax of each step is all that is needed."""
        return self.sampling.temperature == 0 and self.top_logprobs is None and not self.json_object

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all messages, in order."""
        return tuple(part for each in self.messages for part in each.parts if isinstance(part, str))


# Tasks to score, embed and explain will join it.
Task: TypeAlias = AnswerTask


@dataclass(frozen=True)
class Request:
    """Work for an engine, and what the scheduler needs to know of it."""

    task: Task
    kind: Kind = "question"
    """"live": a newer frame of the same camera replaces it while it waits. "question": goes before
    live frames. "background": runs if nothing else waits."""
    camera: str | None = None
    """Its camera; cameras take turns. None: no camera."""
    frame: Frame | None = None
    """The frame that it is about, None for a chat."""

    @classmethod
    def about(
        cls,
        image: Image.Image,
        prompt: str,
        max_tokens: int,
        detail: Detail = "low",
        camera: str | None = None,
        kind: Kind = "question",
    ) -> Request:
        """Return a request with one question about one image, as the page sends it."""
        messages = (Message("user", (image, prompt)),)
        return cls(AnswerTask(messages, max_tokens, detail=detail), kind=kind, camera=camera)


@dataclass(frozen=True)
class TokenLogprob:
    """One token with its log probability."""

    token: str
    token_bytes: bytes
    """UTF-8 of the token; perhaps only a part of a character."""
    logprob: float
    """Natural logarithm."""
    top: tuple[TokenLogprob, ...] = ()
    """The likeliest tokens at this position, the likeliest first."""


@dataclass(frozen=True)
class TokenChunk:
    """Text that became complete (whole UTF-8 characters) with the newest tokens; never empty."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens since the last chunk, if requested."""


@dataclass(frozen=True)
class Stats:
    """Cost of one answer. Times are seconds of wall clock, counts are tokens."""

    ttft_s: float
    """From the start of the engine's work to the first token; 0.0 if there was none."""
    tokens_per_s: float
    """`tokens` over `total_s`."""
    image_tokens: int
    prompt_tokens: int
    """Tokens of the whole prompt, those of images included."""
    tokens: int
    """Generated tokens, the end token excluded."""
    drafted: int
    """Tokens that were guessed from an older answer and checked in one pass."""
    accepted: int
    """Drafted tokens that were right."""
    queued_s: float
    """Wait before the engine's work."""
    total_s: float
    """The engine's work, without the wait."""


@dataclass(frozen=True)
class Result:
    """The last event of a stream: the whole text, why it ended and what it cost."""

    text: str
    finish_reason: FinishReason
    stats: Stats


StreamEvent = TokenChunk | Result


@dataclass(frozen=True)
class EngineInfo:
    """The model that is loaded, and what runs it."""

    model: str
    runtime: str
    device: str
    dtype: str
    frame_size_px: int
    """Longest side of a frame that is worth sending."""
    remote: tuple[str, ...] = ()
    """Origins of the servers that run the model; empty if it runs here."""
    aliases: tuple[str, ...] = ()
    """Other names of the model, such as its hub id."""
