"""One answer: from a request to the tokens of its answer, as passes over the model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from vlm.engine.drafts import Draft, DraftCounts, LastAnswer
from vlm.engine.encoding import Encoding
from vlm.engine.frame_cache import EncodedFrame
from vlm.engine.json_ends import RepetitionEnd
from vlm.engine.model import Model, Prepared
from vlm.engine.passes import Decode, Pass, Passes, Prefill, Refeed, SharedPassError, Verify
from vlm.engine.penalties import processors_of
from vlm.engine.prompt_reuse import FedPrompt
from vlm.engine.sampling import SURE_LOGPROBS, Sampler, Token, token_of
from vlm.runtimes.base import KVState, Predicted
from vlm.types import AnswerTask


class Generation:
    """The passes and tokens of one answer. `tokens` may be called once."""

    def __init__(
        self,
        model: Model,
        prepared: Prepared,
        is_cancelled: Callable[[], bool],
        draft: Sequence[int] | None = None,
    ) -> None:
        """`draft` are ids that a greedy answer may begin with or share parts of.

        By default that is the last answer to the same question of the same camera, if the runtime
        has exact splits: then a draft saves time and never changes the answer.
        """
        self.counts = DraftCounts()
        self.prepared = prepared
        self.encoding = Encoding(model, prepared, is_cancelled)
        self._model = model
        self._runtime = model.runtime
        self._task: AnswerTask = prepared.request.answer_task
        self._is_cancelled = is_cancelled
        self._draft = draft
        self._answer: list[int] = []
        # For the camera's next frame.
        self._is_fed_whole = False
        # Set by the prefill.
        self._state: KVState | None = None

    def tokens(self) -> Passes[Token]:
        """Yield passes and the tokens of the answer, end token included.

        A greedy answer equals that of transformers, token for token.
        """
        yield from self.encoding.passes()
        if self._is_cancelled():
            return
        if self._task.is_greedy:
            yield from self._greedy()
        else:
            yield from self._sampled()
        self._keep_state()

    def _greedy(self) -> Passes[Token]:
        question = (self.prepared.request.camera, self.prepared.turns, self._task.prompt_end)
        last = LastAnswer(self._draft or ())
        if self._draft is None and self._runtime.exact_splits:
            last = self._model.answers.get(question)
        draft = Draft(last.ids, self._is_text, last.trusted)
        limit, answer = self.prepared.limit, self._answer
        guess = draft.start(limit - 1)
        # Log probabilities need logits; the argmax is the same with them.
        want_logits = self._task.sure
        after = yield from self._prefill(guess, want_logits)
        while True:
            next_ids = after.ids
            right = self.counts.add(guess, next_ids)
            draft.note(right, len(guess))
            if right < len(guess):
                assert self._state is not None
                self._runtime.truncate(self._state, self._state.length - len(guess) + right)
            new = next_ids[: right + 1]
            answer += new
            if want_logits:
                assert after.logits is not None
                yield from map(token_of, new, after.logits)
            else:
                yield from map(Token, new)
            left = limit - len(answer)
            if left < 1 or answer[-1] in self._model.stop_ids or self._is_cancelled():
                break
            guess = draft.meet(answer, left - 1)
            after = yield from self._append(guess, want_logits)
        if not self._is_cancelled():
            self._model.answers.put(question, LastAnswer(answer, draft.trusted_next()))

    def _sampled(self) -> Passes[Token]:
        task = self._task
        processors = processors_of(task.sampling, self.prepared.input_ids)
        if task.has_form:
            processors.append(self._model.grammars.for_one_answer(task.form, task.begun_text))
        if task.stop_loops and task.is_json:
            begun = task.begun_text.encode()
            processors.append(RepetitionEnd(self._model.closing_tokens, begun))
        count = task.top_logprobs
        if count is None and task.sure:
            count = SURE_LOGPROBS
        sampler = Sampler(task.sampling, count, processors)
        after = yield from self._prefill((), want_logits=True)
        while True:
            assert after.logits is not None
            token = sampler.pick(self._answer, after.logits[-1])
            self._answer.append(token.id)
            yield token
            is_full = len(self._answer) == self.prepared.limit
            if is_full or token.id in self._model.stop_ids or sampler.is_over(self._answer):
                return
            if self._is_cancelled():
                return
            after = yield from self._append((), want_logits=True)

    def _prefill(
        self, guess: Sequence[int], want_logits: bool = False
    ) -> Generator[Pass, Any, Predicted]:
        """Feed the prompt and `guess`; predict after the prompt and after each guessed token.

        The state of an earlier question about the same images is used as far as it goes; there is
        one only if the runtime has exact splits.
        """
        input_ids, count = [*self.prepared.input_ids, *guess], len(guess) + 1
        last = self.encoding.frames[-1] if self.encoding.frames else None
        if last is not None and last.state is not None and last.state_images == self.encoding.keys:
            known = last.known_tokens(self.prepared.input_ids)
            if self._model.inputs.image_token_id not in input_ids[known:]:
                self._state = self._runtime.fork(last.state, known)
                after: Predicted = yield Verify(self._state, input_ids[known:], count, want_logits)
                return after
        if "refeed" in self._runtime.capabilities:
            if self.encoding.is_planned:
                refed = yield from self._refeed(guess, want_logits)
                if refed is not None:
                    return refed
                self._is_fed_whole = True
            elif len(self.encoding.frames) == 1 and len(self.encoding.frames[0].features) > 1:
                return (yield from self._prefill_rest(guess, want_logits))
        return (yield from self._prefill_anew(guess, want_logits))

    def _prefill_rest(
        self, guess: Sequence[int], want_logits: bool
    ) -> Generator[Pass, Any, Predicted]:
        """Feed the prompt from the first tile on that no kept state has; the text is the same."""
        input_ids, features = self.prepared.input_ids, self.encoding.frames[0].features
        image_token_id = self._model.inputs.image_token_id
        start = self._model.frames.longest_start(input_ids, features, image_token_id)
        if start is None or not self._runtime.exact_splits:
            return (yield from self._prefill_anew(guess, want_logits))
        fed = [*input_ids[start.tokens :], *guess]
        after: Predicted
        self._state, after = yield Refeed(
            start.state,
            start.tokens + np.arange(len(fed)),
            fed,
            features[start.tiles :],
            len(guess) + 1,
            want_logits,
        )
        return after

    def _refeed(
        self, guess: Sequence[int], want_logits: bool
    ) -> Generator[Pass, Any, Predicted | None]:
        """Feed what differs from the camera's kept prompt, and `guess`; None if it is too much."""
        reuse, camera = self._model.reuse, self.prepared.request.camera
        assert reuse is not None and camera is not None
        input_ids, features = self.prepared.input_ids, self.encoding.frames[0].features[0]
        fed = reuse.prompt(camera)
        found = fed and fed.positions_to_feed(
            input_ids, features, self._model.inputs.image_token_id
        )
        if not fed or not found:
            return None
        positions, changed = found
        after: Predicted
        self._state, after = yield Refeed(
            fed.state,
            np.append(positions, len(input_ids) + np.arange(len(guess))),
            [*np.asarray(input_ids)[positions].tolist(), *guess],
            [features[changed]],
            len(guess) + 1,
            want_logits,
        )
        return after

    def _prefill_anew(
        self, guess: Sequence[int], want_logits: bool
    ) -> Generator[Pass, Any, Predicted]:
        """Feed prompt, answer and `guess` to a new state; predict from the last real token on."""
        after: Predicted
        self._state, after = yield Prefill(
            [*self.prepared.input_ids, *self._answer, *guess],
            [each for frame in self.encoding.frames for each in frame.features],
            len(guess) + 1,
            want_logits,
        )
        return after

    def _append(
        self, guess: Sequence[int], want_logits: bool = False
    ) -> Generator[Pass, Any, Predicted]:
        """Feed the answer's last token and `guess`; predict after each of them."""
        assert self._state is not None, "the prefill comes first"
        last_id = self._answer[-1]
        try:
            after: Predicted
            if guess:
                count = len(guess) + 1
                after = yield Verify(self._state, [last_id, *guess], count, want_logits)
            else:
                after = yield Decode(self._state, last_id, want_logits)
        except SharedPassError:
            # The state is lost; a prefill runs alone.
            return (yield from self._prefill_anew(guess, want_logits))
        return after

    def _keep_state(self) -> None:
        """Keep the state for another question about the same images, or the camera's next frame."""
        reuse, camera = self._model.reuse, self.prepared.request.camera
        if self.encoding.is_planned and reuse is not None and camera is not None and self._state:
            if self._is_fed_whole:
                features = self.encoding.frames[0].features[0]
                prompt = FedPrompt(self._state, self.prepared.input_ids, features)
                reuse.keep_prompt(camera, prompt)
            is_complete = self._task.is_greedy and self._answer and not self._is_cancelled()
            reuse.captioned(
                camera, (self.prepared.input_ids, self._answer) if is_complete else None
            )
        is_kept = self.encoding.is_whole and self._runtime.exact_splits
        if self.encoding.keys and self._state is not None and is_kept:
            fed = [*self.prepared.input_ids, *self._answer][: self._state.length]
            kept = EncodedFrame(
                self.encoding.frames[-1].features, self._state, fed, self.encoding.keys
            )
            self._model.frames.put(self.encoding.keys[-1], kept)

    def _is_text(self, token_id: int) -> bool:
        """Return whether `token_id` may stand inside an answer and be fed with a prompt."""
        return (
            0 <= token_id < self._model.inputs.vocabulary_size
            and token_id != self._model.inputs.image_token_id
            and token_id not in self._model.stop_ids
        )
