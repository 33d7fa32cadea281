"""Values that travel between the rooms: requests, events of a stream, results, statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from vlm.images.frame import Frame

# From the fewest pixels to the most.
Detail = Literal["tiny", "small", "low", "high"]
Reading = Literal["reader", "model", "both"]
ClaimCheck = Literal["off", "mark", "strict"]
Role = Literal["system", "user", "assistant"]
Kind = Literal["live", "question", "background"]
# A prompt ends with the start of the assistant's turn; with the whole last message; or with the
# text of the last message, which the answer continues.
PromptEnd = Literal["generation_prompt", "final_message", "final_text"]
FinishReason = Literal["stop", "length", "loop", "cancelled"]
Outcome = Literal["done", "cancelled", "superseded", "refused", "failed"]
EngineState = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    parts: tuple[str | Image.Image, ...]
    """Texts and images in order; each image as `vlm.images.decode.decode_image` returns it."""


@dataclass(frozen=True)
class Exchange:
    """An earlier question about a picture, and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Sampling:
    """Parameters of sampling."""

    temperature: float = 0.0
    """0 to 2; 0 takes the argmax."""
    top_p: float = 1.0
    """0 to 1: tokens are drawn from the likeliest ones with this probability together."""
    seed: int | None = None
    """The same seed draws the same tokens."""
    top_k: int = 0
    """Tokens are drawn from so many likeliest ones; 0: from all."""
    min_p: float = 0.0
    """0 to 1: tokens are drawn from those with this part of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    """Divides the positive logits of tokens of prompt and answer, multiplies the negative ones."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens of the answer."""
    frequency_penalty: float = 0.0
    """Subtracted from the logits of tokens of the answer for each time they came."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, and what is added to their logits."""

    @property
    def is_argmax(self) -> bool:
        """Return whether each token is the argmax of the model's own logits."""
        penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty)
        return self.temperature == 0 and penalties == (1.0, 0.0, 0.0) and not self.logit_bias


GREEDY: Final = Sampling()
# More than the context of any SmolVLM: an answer with this limit may fill what the context holds.
ANSWER_MAX_TOKENS: Final = 32_768


@dataclass(frozen=True)
class Form:
    """A form that an answer is to have."""

    kind: Literal["json_schema", "regex", "choice"]
    source: str
    """A JSON schema, or a list of the possible answers, as JSON; or a regular expression."""


@dataclass(frozen=True)
class AnswerTask:
    """Answer a chat in text."""

    messages: tuple[Message, ...]
    max_tokens: int
    detail: Detail = "low"
    """"low": one tile for each image (a live frame). "small", "tiny": one of about three quarters
    or half of its side. "high": the checkpoint's own tiling."""
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""
    top_logprobs: int | None = None
    """0 to 20: return the log probability of each token and of so many alternatives."""
    sure: bool = False
    """Return the log probability of each token, as with `top_logprobs`, without another effect: a
    greedy answer has drafts, and another maker may answer in place of the model."""
    explain: bool = False
    """Return what each word of the answer looked at, if the model made it."""
    claims: ClaimCheck = "off"
    """Whether the things that the answer names are checked, and what happens to those that the
    model does not find: they are marked in the result, or left out of the text."""
    json_object: bool = False
    """The answer is one JSON object."""
    form: Form | None = None
    """The answer has this form, one that `vlm.engine.grammars.check_form` accepts."""
    stop_loops: bool = False
    """The answer ends before a sentence or six words come a third time.

    JSON goes on to its end: a text, a number or a list in it that repeats itself is closed."""
    prompt_end: PromptEnd = "generation_prompt"
    """Whether the answer is a new turn, or goes on with the text of the last message."""
    reading: Reading | None = None
    """The maker of the answer about text: the reader, the model, or the model with its lines.

    None: the reader's lines if the answer is about text."""

    @property
    def has_form(self) -> bool:
        """Return whether the answer is more than words."""
        return self.json_object or self.form is not None

    @property
    def is_json(self) -> bool:
        """Return whether the answer is JSON."""
        return self.json_object or (self.form is not None and self.form.kind == "json_schema")

    @property
    def is_greedy(self) -> bool:
        """Return whether the argmax of each step is all that is needed."""
        return self.sampling.is_argmax and self.top_logprobs is None and not self.has_form

    @property
    def begun_text(self) -> str:
        """The text of the last message that the answer continues; empty if it is a new turn."""
        if self.prompt_end != "final_text":
            return ""
        return "".join(part for part in self.messages[-1].parts if isinstance(part, str))

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all messages, in order."""
        return tuple(part for each in self.messages for part in each.parts if isinstance(part, str))


@dataclass(frozen=True)
class Choices:
    """Possible answers to one question about an image."""

    question: str
    answers: tuple[str, ...]
    """Without white space around them. An answer with which another one begins counts with its
    end, so that the likelihoods of different answers exclude each other."""


@dataclass(frozen=True)
class ScoreTask:
    """Return how likely the model finds each of the given answers, to some questions."""

    image: Image.Image
    choices: tuple[Choices, ...]
    """Not empty, each with answers."""
    detail: Detail = "low"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat without a question."""
        return (Message("user", (self.image,)),)

    @property
    def texts(self) -> tuple[str, ...]:
        """The questions and their answers."""
        return tuple(text for each in self.choices for text in (each.question, *each.answers))


@dataclass(frozen=True)
class LookTask:
    """Return what the model looks at in an image before each token of a given answer."""

    messages: tuple[Message, ...]
    """The chat before the answer, with one image."""
    text: str
    """The answer, not empty."""
    detail: Detail = "low"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the chat, and the answer."""
        chat = (part for each in self.messages for part in each.parts if isinstance(part, str))
        return (*chat, self.text)


# Tasks to embed will join them.
Task: TypeAlias = AnswerTask | ScoreTask | LookTask


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a live frame by what the last ones took. Times are seconds."""

    detail: Detail
    max_tokens: int
    interval_s: float
    """The next frame of the camera is best captured so long after this one; 0: at once."""
    latency_s: float
    """The most to expect from a change in front of the camera to the end of its caption; 0 if
    nothing is measured yet."""
    why: str
    """In a sentence."""


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
    chosen: Chosen | None = None
    """For a live frame: what was chosen for it. The task has it already."""

    @property
    def answer_task(self) -> AnswerTask:
        """The task of a request for an answer in text; raise TypeError for another request."""
        if not isinstance(self.task, AnswerTask):
            raise TypeError("not a request for an answer in text")
        return self.task

    @classmethod
    def about(
        cls,
        image: Image.Image,
        prompt: str,
        max_tokens: int,
        detail: Detail = "low",
        camera: str | None = None,
        kind: Kind = "question",
        turns: tuple[Exchange, ...] = (),
    ) -> Request:
        """Return a request with one question about one image, after earlier `turns` about it."""
        texts = [text for turn in turns for text in (turn.question, turn.answer)]
        first, *others = [*texts, prompt]
        messages = [Message("user", (image, first))]
        for index, text in enumerate(others):
            messages.append(Message("user" if index % 2 else "assistant", (text,)))
        task = AnswerTask(tuple(messages), max_tokens, detail=detail)
        return cls(task, kind=kind, camera=camera)


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
