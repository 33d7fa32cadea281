"""The one path from a question to the ids of its answer, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from vlm.engine.drafts import Draft, DraftCounts, LastAnswer, LastAnswers, greedy_steps
from vlm.engine.frame_cache import EncodedFrame, FrameCache
from vlm.engine.inputs import InputBuilder, Turn
from vlm.engine.passes import Decode, Encode, Pass, Prefill, SharedPassError, Steps, Verify
from vlm.engine.sampling import JsonGrammars, Token, TokenPicker
from vlm.errors import BadRequestError
from vlm.processing.image_processor import TileGrid
from vlm.prompts import check_text
from vlm.runtimes.base import ImageFeatures, KVState, Runtime
from vlm.types import Request


@dataclass(frozen=True)
class Asked:
    """A request in the model's terms: `limit` is how many tokens its answer may have."""

    request: Request
    images: tuple[Image.Image, ...]
    turns: tuple[Turn, ...]
    input_ids: tuple[int, ...]
    image_tokens: int
    limit: int


@dataclass
class _Images:
    """The images of one question, by their keys in the cache and as the model knows them."""

    keys: list[bytes] = field(default_factory=list)
    frames: list[EncodedFrame] = field(default_factory=list)

    @property
    def features(self) -> list[ImageFeatures]:
        return [each for frame in self.frames for each in frame.features]

    @property
    def last(self) -> EncodedFrame | None:
        """The last one, where its state is of a chat about these very images."""
        last = self.frames[-1] if self.frames else None
        return last if last is not None and last.state_images == self.keys else None


class Answering:
    """Answers out of one model, with what it remembers from one to the next."""

    def __init__(
        self, runtime: Runtime[Any], inputs: InputBuilder, stop_ids: frozenset[int]
    ) -> None:
        """`inputs` are the checkpoint's own; `stop_ids` end an answer."""
        self._runtime = runtime
        self._inputs = inputs
        self._stop_ids = stop_ids
        self._json: JsonGrammars | None = None
        self.forget()

    def forget(self) -> None:
        """Remember nothing of what was asked so far."""
        self._frames, self._answers = FrameCache(), LastAnswers()

    def ask(self, request: Request) -> Asked:
        """What the model is asked by `request`; raises BadRequestError where it cannot be."""
        if request.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        images: list[Image.Image] = []
        turns: list[Turn] = []
        for message in request.messages:
            parts: list[str | TileGrid] = []
            for part in message.parts:
                if isinstance(part, str):
                    parts.append(check_text(part))
                else:
                    images.append(part)
                    parts.append(self._inputs.grid_of(part.size, request.detail))
            turns.append((message.role, tuple(parts)))
        input_ids = self._inputs.chat_ids(tuple(turns))
        room = self._runtime.context_tokens - len(input_ids)
        if room < 1:
            raise BadRequestError(
                f"The prompt and the image have {len(input_ids)} tokens; this model has "
                f"room for {self._runtime.context_tokens - 1}. Make the prompt shorter."
            )
        image_tokens = input_ids.count(self._inputs.image_token_id)
        limit = min(request.max_tokens, room)
        return Asked(request, tuple(images), tuple(turns), input_ids, image_tokens, limit)

    def steps(
        self,
        asked: Asked,
        is_cancelled: Callable[[], bool],
        counts: DraftCounts,
        draft: Sequence[int] | None = None,
    ) -> Steps[Token]:
        """The tokens of the answer, end token included; greedy ones as transformers has them.

        `draft` are ids that a greedy answer may begin with or share parts of, by default the last
        answer to the same question of the same camera; they only ever save time.
        """
        images = yield from self._encoded(asked, is_cancelled)
        if is_cancelled():
            return
        if asked.request.is_plain:
            yield from self._greedy(asked, images, is_cancelled, counts, draft)
        else:
            yield from self._picked(asked, images, is_cancelled)

    def _encoded(
        self, asked: Asked, is_cancelled: Callable[[], bool]
    ) -> Generator[Pass, Any, _Images]:
        images = _Images()
        for image in asked.images:
            key = self._frames.key(image, asked.request.detail)
            frame = self._frames.get(key)
            if frame is None:
                frame = EncodedFrame((yield from self._features(image, asked, is_cancelled)))
                if is_cancelled():
                    break
                self._frames.put(key, frame)
            images.keys.append(key)
            images.frames.append(frame)
        return images

    def _features(
        self, image: Image.Image, asked: Asked, is_cancelled: Callable[[], bool]
    ) -> Generator[Pass, Any, list[Any]]:
        """The features of `image`, some tiles at a time; fewer than all where it was cancelled."""
        pixel_values = self._inputs.pixel_values(image, asked.request.detail)
        at_once = self._runtime.tiles_per_pass
        features = []
        for start in range(0, len(pixel_values), at_once):
            if is_cancelled():
                break
            features.append((yield Encode(pixel_values[start : start + at_once])))
        return features

    def _prefill(
        self, images: _Images, input_ids: Sequence[int], choices: int
    ) -> Generator[Pass, Any, tuple[KVState, list[int]]]:
        """A state of its own that holds `input_ids`, and the choices after the last of them.

        What an earlier question about the same images has fed the model is not fed again.
        """
        last = images.last
        if last is not None and last.state is not None:
            known = last.known_tokens(input_ids[: len(input_ids) - choices + 1])
            if self._inputs.image_token_id not in input_ids[known:]:
                state = self._runtime.fork(last.state, known)
                return state, (yield Verify(state, input_ids[known:], choices))
        fresh: tuple[KVState, list[int]] = yield Prefill(input_ids, images.features, choices)
        return fresh

    def _greedy(
        self,
        asked: Asked,
        images: _Images,
        is_cancelled: Callable[[], bool],
        counts: DraftCounts,
        draft: Sequence[int] | None,
    ) -> Steps[Token]:
        question = (asked.request.camera, asked.turns)
        last = self._answers.get(question) if draft is None else LastAnswer(draft)
        old = Draft(last.ids, self._is_text, last.trusted)
        guess = old.start(asked.limit - 1)
        answer: list[int] = []
        state, choices = yield from self._prefill(
            images, [*asked.input_ids, *guess], len(guess) + 1
        )
        while True:
            steps = greedy_steps(
                self._runtime,
                state,
                choices,
                old,
                guess,
                asked.limit,
                counts,
                lambda token_id: token_id in self._stop_ids or is_cancelled(),
                answer,
            )
            try:
                yield from steps
                break
            except SharedPassError:
                guess = []
                state, choices = yield Prefill([*asked.input_ids, *answer], images.features, 1)
        if not is_cancelled():
            self._answers.put(question, LastAnswer(answer, old.trusted_next()))
        self._remember(asked, images, state, answer)

    def _picked(
        self,
        asked: Asked,
        images: _Images,
        is_cancelled: Callable[[], bool],
    ) -> Steps[Token]:
        request = asked.request
        grammar = self._grammars().of_one_answer() if request.json_object else None
        picker = TokenPicker(request.sampling, request.top_logprobs, grammar)
        answer: list[int] = []
        state, _ = yield from self._prefill(images, asked.input_ids, 1)
        while True:
            token = picker.pick(self._runtime.logits(state))
            answer.append(token.id)
            yield token
            is_over = token.id in self._stop_ids or len(answer) == asked.limit or picker.is_over
            if is_over or is_cancelled():
                break
            try:
                yield Decode(state, token.id)
            except SharedPassError:
                state, _ = yield Prefill([*asked.input_ids, *answer], images.features, 1)
        self._remember(asked, images, state, answer)

    def _remember(
        self,
        asked: Asked,
        images: _Images,
        state: KVState,
        answer: Sequence[int],
    ) -> None:
        """Keep `state` for another question about the same images."""
        if images.keys:
            fed = [*asked.input_ids, *answer][: state.length]
            features = images.frames[-1].features
            self._frames.put(images.keys[-1], EncodedFrame(features, state, fed, images.keys))

    def _grammars(self) -> JsonGrammars:
        if self._json is None:
            self._json = JsonGrammars(self._inputs.tokenizer.to_json(), self._stop_ids)
        return self._json

    def _is_text(self, token_id: int) -> bool:
        """Whether an answer can go on behind `token_id`, and a pass over a prompt can hold it."""
        return (
            0 <= token_id < self._inputs.vocabulary_size
            and token_id != self._inputs.image_token_id
            and token_id not in self._stop_ids
        )
