"""Results: the events of a stream, statistics of an answer, and what is known of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

# At run time too: the OpenAPI document is made from these classes.
from vlm.types import Chosen, Detail

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FinishReason = Literal["stop", "length", "loop", "cancelled"]
EngineState = Literal["loading", "ready", "failed"]


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


By = Literal["model", "finder", "reader"]
Verdict = Literal["found", "not_found", "not_checkable"]


@dataclass(frozen=True)
class Box:
    """A thing in a frame. Coordinates are 0 to 1 of the upright frame, from its top left corner."""

    name: str
    score: float
    """0 to 1."""
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Label:
    """A thing or a place that the whole frame shows."""

    name: str
    probability: float
    """0 to 1."""
    kind: str
    """Such as "animal" or "food"; "place" for a place."""


@dataclass(frozen=True)
class TextLine:
    """A line of text in a frame."""

    text: str
    score: float
    """0 to 1, the mean of the probabilities of its letters."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 as in `Box`."""


@dataclass(frozen=True)
class Check:
    """A noun of a caption, compared with what the detector and the classifier found."""

    word: str
    """As it stands in the caption."""
    name: str
    """The thing that it was compared as."""
    verdict: Verdict


@dataclass(frozen=True)
class Claim:
    """A thing that a caption names, and what the model says to the question whether it is there."""

    phrase: str
    """As it stood in the caption."""
    start: int | None
    """Its place in the text, in characters; None if it was left out."""
    end: int | None
    probability: float
    """0 to 1, that it is there; the boxes' witness counts too."""
    supported: bool


@dataclass(frozen=True)
class Kept:
    """How well frames of still cameras, encoded in part, stand for whole ones."""

    error: float
    """Relative error of the kept features at the last frame that was encoded whole."""
    checks: int
    """Captions that were compared with the whole frame's, since the model was loaded."""
    agreed: int
    """Those that were the same, token for token."""


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
    patches: int = 0
    """Patches of the camera's frame that were computed, with the others kept from its last frames;
    0 if it was encoded whole, or before."""
    kept: Kept | None = None
    """Measurements of frames encoded in part; None before the first one."""
    by: By = "model"
    """The maker of the text: the model, the object finder or the reader."""
    checks: tuple[Check, ...] = ()
    """Nouns of the text that were compared with the frame; empty if none was."""
    claims: tuple[Claim, ...] | None = None
    """The things that the text names or named; None if they were not checked."""
    chosen: Chosen | None = None
    """Of a live frame what was chosen for it, in so far as the request left it open."""

    @classmethod
    def silent(
        cls, total_s: float, image_tokens: int, prompt_tokens: int, patches: int = 0
    ) -> Stats:
        """Return the cost of work that writes nothing."""
        return cls(
            ttft_s=0.0,
            tokens_per_s=0.0,
            image_tokens=image_tokens,
            prompt_tokens=prompt_tokens,
            tokens=0,
            drafted=0,
            accepted=0,
            queued_s=0.0,
            total_s=total_s,
            patches=patches,
        )


@dataclass(frozen=True)
class Result:
    """The last event of a stream: the whole text, why it ended and what it cost."""

    text: str
    finish_reason: FinishReason
    """"loop": the text was cut where it began to repeat itself once more."""
    stats: Stats


@dataclass(frozen=True)
class Scored(Result):
    """The last event of the stream of a `ScoreTask`; its text is empty."""

    logprobs: tuple[tuple[float, ...], ...]
    """Of each answer of each `Choices`, as natural logarithm; empty if it was cancelled."""
    model: str
    """The model that scored them, and its number format."""
    dtype: str
    rows: int
    """Tokens that were fed in trees."""
    passes: int
    """Passes that scored."""


@dataclass(frozen=True)
class Looked(Result):
    """The last event of the stream of a `LookTask`; its text is empty."""

    tokens: tuple[TokenLogprob, ...]
    """Those of the answer, given those before; empty if it was cancelled."""
    grid: tuple[int, int]
    """Rows and columns of cells over the frame."""
    attention: npt.NDArray[np.float32] = field(compare=False)
    """[tokens, rows, columns]: the attention to each cell of the row that predicts the token, mean
    over all layers and heads."""


@dataclass(frozen=True)
class Hidden(Result):
    """The last event of the stream of a `HideTask`; its text is empty."""

    logprobs: tuple[float, ...]
    """Of the part of the answer with each region hidden, as natural logarithm; empty if it was
    cancelled."""
    grid: tuple[int, int]
    """Rows and columns of cells over the frame."""


@dataclass(frozen=True)
class Patched(Result):
    """The last event of the stream of a `PatchTask`; its text is empty."""

    features: npt.NDArray[np.float32] | None = field(compare=False)
    """[rows, columns, hidden] over the frame; None if it was cancelled."""
    side_px: int
    """Of a tile."""
    tiles: tuple[int, int]
    """Rows and columns of tiles over the frame."""
    tokens: int
    """Image tokens of the prompt that the text model sees."""


@dataclass(frozen=True)
class Embedded(Result):
    """The last event of the stream of an `EmbedTask`; its text is empty."""

    model: str
    features: npt.NDArray[np.float32] = field(compare=False)
    """[tokens, width] of all tiles, as the text model reads them; empty if it was cancelled."""


@dataclass(frozen=True)
class LookWord:
    """A word of an answer, with the marks at it, and what it looked at."""

    text: str
    start: int
    """Its place in the answer, in characters."""
    end: int
    probability: float
    """0 to 1, of all its tokens together, given the words before."""
    map: tuple[int, ...]
    """0 to 255 for each cell of the frame, row by row from the top left corner: more than the other
    words looked there. All are 0 for a word that looked nowhere more than the others."""


@dataclass(frozen=True)
class Looks:
    """What each word of an answer looked at."""

    grid: tuple[int, int]
    """Rows and columns of cells over the frame."""
    words: tuple[LookWord, ...]
    method: Literal["attention", "occlusion"] = "attention"
    """Attention is what the model looked at; occlusion is an estimate, by what it says without."""


@dataclass(frozen=True)
class Explained(Result):
    """The last event of an answer that is explained."""

    looks: Looks | None
    """None if the model did not make the text, or it was cancelled."""


StreamEvent = TokenChunk | Result


@dataclass(frozen=True)
class TileSide:
    """A side of the one tile that an engine makes of a live frame."""

    detail: Detail
    share: float
    """Its image tokens, as a share of those of "low"."""
    loss: float | None
    """How much lower the figures of the model card are with it, at most; None if unknown."""


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
    why_cpu: str = ""
    """Why an accelerator that is here is not used, in a sentence; empty if there is none."""
    context_tokens: int | None = None
    """Most tokens of prompt and answer together; None if the model runs elsewhere."""
    chat_template: str = ""
    """The checkpoint's template of chats, in Jinja; empty if the model runs elsewhere."""
    sides: tuple[TileSide, ...] = (TileSide("low", 1.0, 0.0),)
    """The sides of a live frame's tile; "low" is always among them."""
