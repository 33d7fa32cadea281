"""Requests: the tasks of an engine, and what the scheduler needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from PIL import Image

    from vlm.images.frame import Frame

# From the fewest pixels to the most.
Detail = Literal["tiny", "small", "low", "high"]
Reading = Literal["reader", "model", "both"]
ClaimCheck = Literal["off", "mark", "strict"]
Explain = Literal["0", "1", "estimate"]
Role = Literal["system", "user", "assistant"]
Kind = Literal["live", "question", "background"]
# A prompt ends with the start of the assistant's turn; with the whole last message; or with the
# text of the last message, which the answer continues.
PromptEnd = Literal["generation_prompt", "final_message", "final_text"]
Outcome = Literal["done", "cancelled", "superseded", "refused", "failed"]


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


@dataclass(frozen=True)
class HideTask:
    """Return how likely a part of a given answer is while parts of the image are hidden."""

    messages: tuple[Message, ...]
    """The chat before the answer, with one image."""
    text: str
    """The answer."""
    start: int
    """Place of the part, in characters."""
    end: int
    regions: tuple[tuple[int, ...], ...]
    """Each: the cells of the grid over the frame that are hidden, row by row from the top left
    corner; empty: none."""
    detail: Detail = "low"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the chat, and the answer."""
        chat = (part for each in self.messages for part in each.parts if isinstance(part, str))
        return (*chat, self.text)


@dataclass(frozen=True)
class PatchTask:
    """Return what the vision encoder makes of each patch of an image."""

    image: Image.Image
    detail: Detail = "low"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat without a question."""
        return (Message("user", (self.image,)),)

    @property
    def texts(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class EmbedTask:
    """Return the image tokens that the model's vision encoder and connector make of an image."""

    image: Image.Image
    detail: Detail = "low"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat, without a question."""
        return (Message("user", (self.image,)),)

    @property
    def texts(self) -> tuple[str, ...]:
        """No texts."""
        return ()


Task: TypeAlias = AnswerTask | ScoreTask | LookTask | HideTask | PatchTask | EmbedTask


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
        begin: str = "",
    ) -> Request:
        """Return a request with one question about one image, after earlier `turns` about it.

        The answer goes on from `begin`, if that is not empty.
        """
        texts = [text for turn in turns for text in (turn.question, turn.answer)]
        first, *others = [*texts, prompt]
        messages = [Message("user", (image, first))]
        for index, text in enumerate(others):
            messages.append(Message("user" if index % 2 else "assistant", (text,)))
        end: PromptEnd = "generation_prompt"
        if begin:
            messages.append(Message("assistant", (begin,)))
            end = "final_text"
        task = AnswerTask(tuple(messages), max_tokens, detail=detail, prompt_end=end)
        return cls(task, kind=kind, camera=camera)
