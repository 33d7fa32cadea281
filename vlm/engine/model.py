"""A loaded model with what its answers leave for later ones, and requests in its terms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from PIL import Image

from vlm.engine.branches import Branch, common_start
from vlm.engine.drafts import LastAnswers
from vlm.engine.frame_cache import FrameCache
from vlm.engine.grammars import Grammars
from vlm.engine.inputs import InputBuilder, Turn
from vlm.engine.json_ends import ClosingTokens
from vlm.engine.vision_reuse import VisionReuse
from vlm.errors import BadRequestError, LogitBiasError, NotSupportedError
from vlm.processing.image_processor import TileGrid
from vlm.processing.tokenizer import END_OF_UTTERANCE
from vlm.prompts import clean_text
from vlm.runtimes.base import Runtime
from vlm.types import AnswerTask, Choices, LookTask, Request, ScoreTask


@dataclass(frozen=True)
class Prepared:
    """A request in the model's terms."""

    request: Request
    images: tuple[Image.Image, ...]
    turns: tuple[Turn, ...]
    input_ids: tuple[int, ...]
    image_tokens: int
    limit: int
    """Maximum number of tokens of the answer."""


@dataclass(frozen=True)
class PreparedScores:
    """A request to score answers in the model's terms."""

    prepared: Prepared
    """Its `input_ids` are those with which all prompts begin."""
    branches: tuple[Branch, ...]
    """The prompt and each answer, one question after the other."""
    counts: tuple[int, ...]
    """Number of answers of each question."""


@dataclass(frozen=True)
class PreparedLook:
    """A request for what an answer looks at, in the model's terms."""

    prepared: Prepared
    answer_ids: tuple[int, ...]
    """At least one."""
    grid: TileGrid
    """Of its one image."""


@dataclass
class Model:
    """A runtime with the checkpoint's own inputs, and what its answers leave for later ones."""

    runtime: Runtime[Any]
    inputs: InputBuilder
    stop_ids: frozenset[int]
    """Each ends an answer."""
    reuse: VisionReuse | None = None
    """None if each frame is encoded whole."""
    frames: FrameCache = field(default_factory=FrameCache)
    answers: LastAnswers = field(default_factory=LastAnswers)

    @cached_property
    def grammars(self) -> Grammars:
        """Made when the first answer of a given form is requested."""
        return Grammars(self.inputs.tokenizer.to_json(), self.stop_ids)

    @cached_property
    def closing_tokens(self) -> ClosingTokens:
        """Made when the first answer in JSON is requested."""
        tokenizer = self.inputs.tokenizer
        return ClosingTokens(tokenizer.bytes_of, tokenizer.vocabulary_size)

    def forget(self) -> None:
        """Drop what earlier answers left."""
        self.frames, self.answers = FrameCache(), LastAnswers()
        if self.reuse is not None:
            self.reuse.forget()

    def prepare(self, request: Request) -> Prepared:
        """Return `request` in the model's terms; raise BadRequestError if it cannot be run."""
        task = request.answer_task
        if task.explain:
            self._check_looks()
        if task.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        size = self.inputs.vocabulary_size
        for token_id, _ in task.sampling.logit_bias:
            if not 0 <= token_id < size:
                raise LogitBiasError(f"This model has {size:,} tokens, none of id {token_id}.")
        images: list[Image.Image] = []
        turns: list[Turn] = []
        for message in task.messages:
            parts: list[str | TileGrid] = []
            for part in message.parts:
                if isinstance(part, str):
                    parts.append(clean_text(part))
                else:
                    images.append(part)
                    parts.append(self.inputs.image_processor.grid_of(part.size, task.detail))
            turns.append((message.role, tuple(parts)))
        context_tokens = self.runtime.context_tokens
        input_ids = self.inputs.chat_ids(tuple(turns), context_tokens, task.prompt_end)
        return Prepared(
            request,
            tuple(images),
            tuple(turns),
            input_ids,
            image_tokens=input_ids.count(self.inputs.image_token_id),
            limit=min(task.max_tokens, context_tokens - len(input_ids)),
        )

    def prepare_scores(self, request: Request, task: ScoreTask) -> PreparedScores:
        """Return `request`, of `task`, in the model's terms.

        Raise BadRequestError if it cannot be run, NotSupportedError if the runtime scores nothing.
        """
        if "score" not in self.runtime.capabilities:
            raise NotSupportedError(
                "The model is spread over several devices, which score no answers. Start it on one "
                "with --device."
            )
        context_tokens = self.runtime.context_tokens
        grid = self.inputs.image_processor.grid_of(task.image.size, task.detail)
        branches: list[Branch] = []
        for choices in task.choices:
            turns: tuple[Turn, ...] = (("user", (grid, clean_text(choices.question))),)
            prompt = self.inputs.chat_ids(turns, context_tokens)
            answers = self._answers(choices)
            if len(prompt) + max(map(len, answers)) > context_tokens:
                raise BadRequestError(
                    f"Prompt, image and answer have more than the {context_tokens} tokens that "
                    "this model has room for. Make the answers shorter."
                )
            branches += [Branch((*prompt, *answer), len(answer)) for answer in answers]
        prepared = Prepared(
            request,
            (task.image,),
            (),
            common_start(branches),
            image_tokens=branches[0].token_ids.count(self.inputs.image_token_id),
            limit=0,
        )
        return PreparedScores(
            prepared, tuple(branches), tuple(len(e.answers) for e in task.choices)
        )

    def prepare_look(self, request: Request, task: LookTask) -> PreparedLook:
        """Return `request`, of `task`, in the model's terms.

        Raise BadRequestError if it cannot be run, NotSupportedError if the runtime cannot look.
        """
        self._check_looks()
        prompt = AnswerTask(task.messages, 1, task.detail)
        prepared = self.prepare(replace(request, task=prompt))
        answer = self.inputs.answer_ids(task.text)
        if len(prepared.input_ids) + len(answer) > self.runtime.context_tokens:
            raise BadRequestError("Prompt, image and answer are longer than this model's context.")
        (image,) = prepared.images
        grid = self.inputs.image_processor.grid_of(image.size, task.detail)
        return PreparedLook(prepared, answer, grid)

    def _check_looks(self) -> None:
        if "looks" not in self.runtime.capabilities:
            raise NotSupportedError(
                "The model is spread over several devices, which do not tell what it looked at. "
                "Start it on one with --device."
            )

    def _answers(self, choices: Choices) -> list[tuple[int, ...]]:
        """Return the ids of the answers, with an end if another one goes on from there."""
        answers = [self.inputs.answer_ids(clean_text(answer)) for answer in choices.answers]
        starts = {answer[:end] for answer in answers for end in range(len(answer))}
        end = self.inputs.tokenizer.id_of(END_OF_UTTERANCE)
        if end not in self.stop_ids:
            end = min(self.stop_ids, default=None)
        return [
            (*answer, end) if end is not None and answer in starts else answer for answer in answers
        ]
