"""A loaded model with what its answers leave for later ones, and requests in its terms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.engine.branches import Branch, common_start
from vlm.engine.drafts import LastAnswers
from vlm.engine.frame_cache import FrameCache
from vlm.engine.frame_grid import cells_of
from vlm.engine.grammars import Grammars
from vlm.engine.inputs import InputBuilder, Turn
from vlm.engine.json_ends import ClosingTokens
from vlm.engine.vision_reuse import VisionReuse
from vlm.errors import BadRequestError, LogitBiasError, NotSupportedError
from vlm.processing.image_processor import TileGrid
from vlm.processing.tokenizer import END_OF_UTTERANCE
from vlm.prompts import clean_text
from vlm.runtimes.base import Runtime
from vlm.types import AnswerTask, Choices, HideTask, LookTask, PatchTask, Request, ScoreTask


class PatchCache:
    """The features of the patches of the newest frame that they were asked of."""

    def __init__(self) -> None:
        self._key = b""
        self._features: npt.NDArray[np.float32] | None = None

    def get(self, key: bytes) -> npt.NDArray[np.float32] | None:
        """Return the features of the frame of `key`, or None."""
        return self._features if key == self._key else None

    def put(self, key: bytes, features: npt.NDArray[np.float32]) -> None:
        """Keep `features` in place of the last ones."""
        self._key, self._features = key, features


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


@dataclass(frozen=True)
class PreparedHide:
    """A request to hide parts of an image, in the model's terms."""

    prepared: Prepared
    answer_ids: tuple[int, ...]
    """Up to the end of the part that is asked for."""
    scored: int
    """Number of tokens of the part, at the end of them; at least one."""
    grid: TileGrid
    regions: tuple[tuple[int, ...], ...]
    """Cells of the grid."""


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
    patches: PatchCache = field(default_factory=PatchCache)
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
        self.patches = PatchCache()
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
        self._check_scores()
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
        prepared, grid, answer = self._prepare_given(request, task, task.text)
        return PreparedLook(prepared, answer, grid)

    def prepare_hide(self, request: Request, task: HideTask) -> PreparedHide:
        """Return `request`, of `task`, in the model's terms.

        Raise BadRequestError if it cannot be run, NotSupportedError if the runtime scores nothing.
        """
        self._check_scores()
        prepared, grid, answer = self._prepare_given(request, task, task.text[: task.end])
        before = self.inputs.answer_ids(task.text[: task.start].rstrip())
        known = 0
        for ours, theirs in zip(before, answer[:-1], strict=False):
            if ours != theirs:
                break
            known += 1
        rows, columns = cells_of(grid)
        if any(not 0 <= cell < rows * columns for region in task.regions for cell in region):
            raise BadRequestError(
                f"The picture has {rows} x {columns} cells: 0 to {rows * columns - 1}."
            )
        return PreparedHide(prepared, answer, len(answer) - known, grid, task.regions)

    def prepare_patches(self, request: Request, task: PatchTask) -> Prepared:
        """Return `request`, of `task`, in the model's terms.

        Raise NotSupportedError if the runtime does not return what it makes of patches.
        """
        if "patches" not in self.runtime.capabilities:
            raise NotSupportedError(
                "The model is spread over several devices, which do not return what it makes of "
                "each patch. Start it on one with --device."
            )
        return self.prepare(replace(request, task=AnswerTask(task.messages, 1, task.detail)))

    def _prepare_given(
        self, request: Request, task: LookTask | HideTask, text: str
    ) -> tuple[Prepared, TileGrid, tuple[int, ...]]:
        """Return the chat before an answer, the grid of its image, and the ids of the answer."""
        prompt = AnswerTask(task.messages, 1, task.detail)
        prepared = self.prepare(replace(request, task=prompt))
        answer = self.inputs.answer_ids(text)
        if len(prepared.input_ids) + len(answer) > self.runtime.context_tokens:
            raise BadRequestError("Prompt, image and answer are longer than this model's context.")
        (image,) = prepared.images
        return prepared, self.inputs.image_processor.grid_of(image.size, task.detail), answer

    def _check_scores(self) -> None:
        if "score" not in self.runtime.capabilities:
            raise NotSupportedError(
                "The model is spread over several devices, which score no answers. Start it on one "
                "with --device."
            )

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
