"""The one generator: a frame and a prompt in, text out as it is made. All else here consumes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final

from PIL import Image

from vlm.engine.drafts import DraftCounts
from vlm.engine.generation import Answering, Asked
from vlm.engine.inputs import InputBuilder
from vlm.engine.passes import PASSES, Pass, SharedPassError, Steps, grouped, run_alone, run_group
from vlm.engine.sampling import Token
from vlm.engine.text import AnswerText
from vlm.errors import CheckpointError
from vlm.prompts import DEFAULT_PROMPT
from vlm.runtimes.base import Runtime
from vlm.scheduler.protocol import never, stream_alone
from vlm.types import EngineInfo, Request, StreamEvent

log = logging.getLogger("sightline")

_WARM_UP_TOKENS: Final = 2


class EngineJob:
    """One request under way: its passes, and the text that comes out of them."""

    def __init__(
        self, asked: Asked, steps: Steps[Token], text: AnswerText, is_cancelled: Callable[[], bool]
    ) -> None:
        """`steps` have not begun; they count their drafts in `text.counts`."""
        self._asked = asked
        self._steps = steps
        self._text = text
        self._is_cancelled = is_cancelled
        self._made: list[StreamEvent | Exception] = []
        self.wanted: Pass | None = None
        """The pass that it waits for; None before its first one and after its end."""

    def begin(self) -> None:
        """Go on to the first pass; once, before all else."""
        self._go(lambda: next(self._steps))

    def give(self, result: Any) -> None:
        """Go on with what came out of the wanted pass, or with the Exception that it raised."""
        self.wanted = None
        if isinstance(result, Exception):
            self._go(lambda: self._steps.throw(result))
        else:
            self._go(lambda: self._steps.send(result))

    def take_made(self) -> list[StreamEvent | Exception]:
        """What was made since this was last asked."""
        made, self._made = self._made, []
        return made

    def close(self) -> None:
        """Give it up. Idempotent."""
        self._steps.close()
        self.wanted = None

    def _go(self, resume: Callable[[], Pass | Token]) -> None:
        try:
            step = resume()
            while not isinstance(step, PASSES):
                self._made += self._text.add(step)
                if self._text.is_cut:
                    self._finish()
                    return
                step = next(self._steps)
            self.wanted = step
        except StopIteration:
            self._finish()
        except Exception as error:
            self._made.append(error)

    def _finish(self) -> None:
        self._steps.close()
        asked = self._asked
        self._made += self._text.finish(
            self._is_cancelled(), len(asked.input_ids), asked.image_tokens
        )


class Engine:
    """A loaded model, for one thread at a time: in the server, the worker's."""

    def __init__(
        self,
        runtime: Runtime[Any],
        inputs: InputBuilder,
        stop_token_ids: frozenset[int],
        model_name: str,
    ) -> None:
        """`inputs` are the checkpoint's own; `stop_token_ids` end an answer and are not shown."""
        self._runtime = runtime
        self._inputs = inputs
        self._stop_ids = stop_token_ids
        self._answering = Answering(runtime, inputs, stop_token_ids)
        self.at_once = runtime.states_per_pass
        """How many requests are best advanced together; 1: one after the other."""
        self.info = EngineInfo(
            model=model_name,
            runtime=runtime.name,
            device=runtime.device,
            dtype=runtime.dtype,
            frame_size_px=self._inputs.max_side_px,
        )

    def begin(self, request: Request, is_cancelled: Callable[[], bool] = never) -> EngineJob:
        """The job that answers `request`, not begun yet; `advance` it to its end, or close it.

        Raises BadRequestError for what cannot be asked.
        """
        asked = self.ask(request)
        text = AnswerText(self._inputs.tokenizer, self._stop_ids, request.stop, asked.limit)
        steps = self._answering.steps(asked, is_cancelled, text.counts)
        return EngineJob(asked, steps, text, is_cancelled)

    def advance(self, jobs: Sequence[EngineJob]) -> list[list[StreamEvent | Exception]]:
        """Take each of `jobs` one pass further, together where that pays; what each has made.

        A job's last item is its Result or an Exception: what went wrong with it, the others
        go on.
        """
        for job in jobs:
            if job.wanted is None:
                job.begin()
        waiting = [job for job in jobs if job.wanted is not None]
        wanted = [job.wanted for job in waiting if job.wanted is not None]
        for group in grouped(self._runtime, wanted, self.at_once):
            try:
                results = run_group(self._runtime, [wanted[index] for index in group])
            except Exception as error:
                results = [self._shared_failure(error, len(group))] * len(group)
            for index, result in zip(group, results, strict=True):
                waiting[index].give(result)
        return [job.take_made() for job in jobs]

    def stream(
        self, request: Request, is_cancelled: Callable[[], bool] = never
    ) -> Generator[StreamEvent, None, None]:
        """The answer to `request`: TokenChunks as they become complete, then one Result.

        Work stops within one pass (a token, a guess or an image tile) of the generator being closed
        or of `is_cancelled` turning true; the latter still gives a Result, with "cancelled". A
        text that would leave the model's context ends there with "length". `queued_s` is left at 0.
        Raises BadRequestError for a prompt that cannot be asked, and MemoryError.
        """
        return stream_alone(self, request, is_cancelled)

    def ask(self, request: Request) -> Asked:
        """What the model is asked by `request`; raises BadRequestError where it cannot be."""
        return self._answering.ask(request)

    def generate_ids(
        self,
        asked: Asked,
        is_cancelled: Callable[[], bool] = never,
        draft: Sequence[int] | None = None,
        counts: DraftCounts | None = None,
    ) -> Iterator[int]:
        """The ids alone of what `stream` makes text of, end token included; see `Answering`."""
        steps = self._answering.steps(asked, is_cancelled, counts or DraftCounts(), draft)
        return (token.id for token in run_alone(self._runtime, steps))

    def close(self) -> None:
        """Nothing is asked any more; what the engine holds goes with it."""
        self._answering.forget()

    def _shared_failure(self, error: Exception, jobs: int) -> Exception:
        """What each of `jobs` is told of an `error` in a pass of theirs."""
        if jobs == 1:
            return error
        # It may be one of them, or all together being too much: each begins its pass anew, with
        # fewer beside it, down to one at a time.
        self.at_once = max(1, jobs // 2)
        log.warning("A pass for %d requests failed; %d share one from here on", jobs, self.at_once)
        return SharedPassError("A pass that was shared with other requests has failed.")

    def warm_up(self) -> None:
        """Run one short request, then drop what it left; raise CheckpointError if it cannot run."""
        side_px = self.info.frame_size_px
        frame = Image.new("RGB", (side_px, side_px), (128, 128, 128))
        try:
            for _ in self.stream(Request.about(frame, DEFAULT_PROMPT, _WARM_UP_TOKENS)):
                pass
        except ValueError as error:
            raise CheckpointError(
                f"Processor and model of {self.info.model} do not fit each other: {error}. "
                "Get the whole checkpoint again."
            ) from error
        # What nobody asked is nothing to draft from.
        self._answering.forget()
