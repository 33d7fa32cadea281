"""The one generator: a request in, text out as it is made. Everything else consumes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final
from weakref import WeakSet

from PIL import Image

from vlm.engine.embedding import embedded
from vlm.engine.generation import Generation
from vlm.engine.hiding import Hiding
from vlm.engine.inputs import InputBuilder
from vlm.engine.jobs import AnswerJob, EngineJob, ResultJob, ScoreJob
from vlm.engine.looking import Looking
from vlm.engine.model import Model, Prepared
from vlm.engine.passes import SharedPassError, group_passes, run_alone, run_group
from vlm.engine.patching import patched
from vlm.engine.refresh import refresh
from vlm.engine.scoring import Scoring
from vlm.engine.text import AnswerText
from vlm.engine.vision_reuse import VisionReuse
from vlm.errors import CheckpointError
from vlm.loops import loop_guard
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import EngineInfo, Result, StreamEvent, TileSide
from vlm.runtimes.base import Runtime
from vlm.scheduler.protocol import never, stream_alone
from vlm.types import Detail, EmbedTask, HideTask, LookTask, PatchTask, Request, ScoreTask

log = logging.getLogger("sightline")

_WARM_UP_TOKENS: Final = 2
# Full batches without a failure until the batch size, halved by a failure, is doubled again.
_RECOVERY_BATCHES: Final = 64


class Engine:
    """A loaded model, for one thread at a time: in the server, the worker's."""

    def __init__(
        self,
        runtime: Runtime[Any],
        inputs: InputBuilder,
        stop_token_ids: frozenset[int],
        model_name: str,
        is_exact: bool = False,
    ) -> None:
        """`inputs` are the checkpoint's own; `stop_token_ids` end an answer and are not shown.

        With `is_exact` a camera's frames are encoded whole, if the runtime could do less.
        """
        does_reuse = not is_exact and "changed" in runtime.capabilities
        reuse = VisionReuse(runtime, inputs.image_processor) if does_reuse else None
        self._model = Model(runtime, inputs, stop_token_ids, reuse)
        self._batch_size = runtime.max_batch
        self._good_batches = 0
        self._scores: WeakSet[ScoreJob] = WeakSet()
        self.info = EngineInfo(
            model=model_name,
            runtime=runtime.name,
            device=runtime.device,
            dtype=runtime.dtype,
            frame_size_px=inputs.max_side_px,
            context_tokens=runtime.context_tokens,
            chat_template=inputs.chat_template_source,
            sides=_sides(inputs),
        )

    @property
    def max_batch(self) -> int:
        """Return how many requests are best in flight together; 1: one after the other.

        Another one may pass between the passes of a request that scores many answers.
        """
        is_scoring = any(not job.is_over for job in self._scores)
        return self._batch_size + is_scoring

    @property
    def patches(self) -> int:
        """Return how many patches a live frame has; 0 if all frames are encoded whole."""
        reuse = self._model.reuse
        return reuse.patches if reuse is not None and reuse.is_on else 0

    def prepare(self, request: Request) -> Prepared:
        """Return `request`, for an answer, in the model's terms; raise BadRequestError."""
        return self._model.prepare(request)

    def begin(self, request: Request, is_cancelled: Callable[[], bool] = never) -> EngineJob:
        """Return a job for `request`, not started yet; `advance` it to its end, or close it.

        Raise BadRequestError or NotSupportedError if the request cannot be run.
        """
        return self._job(request, is_cancelled, None)

    def advance(self, jobs: Sequence[EngineJob]) -> list[list[StreamEvent | Exception]]:
        """Run the next pass of each job, batched if that pays; return the new events of each.

        The last event of a job is its Result, or the Exception that ended it. The error of one job
        does not end the others.
        """
        answers = [job for job in jobs if not isinstance(job, ScoreJob)]
        due = [job for job in jobs if not isinstance(job, ScoreJob) or not job.waits_for(answers)]
        for job in due:
            if job.wanted is None:
                job.start()
        waiting = [job for job in due if job.wanted is not None]
        wanted = [job.wanted for job in waiting if job.wanted is not None]
        runtime = self._model.runtime
        for group in group_passes(runtime, wanted, self._batch_size):
            try:
                outputs = run_group(runtime, [wanted[index] for index in group])
                self._recover_batch_size(len(group))
            except Exception as error:
                outputs = [self._group_failure(error, len(group))] * len(group)
            for index, output in zip(group, outputs, strict=True):
                waiting[index].resume(output)
        for job in due:
            if isinstance(job, ScoreJob):
                job.let_pass(answers)
        return [job.drain() for job in jobs]

    def stream(
        self,
        request: Request,
        is_cancelled: Callable[[], bool] = never,
        draft: Sequence[int] | None = None,
    ) -> Generator[StreamEvent, None, None]:
        """Yield TokenChunks as they become complete, then one Result.

        Work stops within one pass (a token, a guess or an image tile) after the generator is closed
        or `is_cancelled` turns true; the latter still yields a Result, with "cancelled". A text
        that would leave the model's context ends there with "length". `queued_s` is 0. `draft`
        replaces the engine's own draft. Raise BadRequestError for a request that cannot be run,
        and MemoryError.
        """
        job = self._job(request, is_cancelled, draft)
        return stream_alone(self, job)

    def run(self, request: Request, draft: Sequence[int] | None = None) -> Result:
        """Return the result of `request`, run to its end with nothing beside it."""
        *_, result = self.stream(request, draft=draft)
        assert isinstance(result, Result), "a stream ends with its result"
        return result

    def rest(self, is_needed: Callable[[], bool]) -> float | None:
        """Encode the last frame of a camera at rest whole, up to the next pass once `is_needed`.

        Return after how many s there is more to do, without another request; None if never.
        """
        reuse = self._model.reuse
        if reuse is None:
            return None
        camera = reuse.at_rest()
        if camera is not None:
            for _ in run_alone(self._model.runtime, refresh(self._model, camera, is_needed)):
                pass
        return reuse.next_rest_s()

    def warm_up(self) -> None:
        """Run one short request and drop what it left, so that the first real one is not slower.

        Raise CheckpointError if processor and model do not fit each other.
        """
        side_px = self.info.frame_size_px
        frame = Image.new("RGB", (side_px, side_px), (128, 128, 128))
        try:
            self.run(Request.about(frame, DEFAULT_PROMPT, _WARM_UP_TOKENS))
        except ValueError as error:
            raise CheckpointError(
                f"Processor and model of {self.info.model} do not fit each other: {error}. "
                "Get the whole checkpoint again."
            ) from error
        self._model.forget()

    def close(self) -> None:
        """Drop what the answers left."""
        self._model.forget()

    def _job(
        self,
        request: Request,
        is_cancelled: Callable[[], bool],
        draft: Sequence[int] | None,
    ) -> EngineJob:
        if isinstance(request.task, ScoreTask):
            scores = self._model.prepare_scores(request, request.task)
            job = ScoreJob(Scoring(self._model, scores, self.info, is_cancelled))
            self._scores.add(job)
            return job
        if isinstance(request.task, EmbedTask):
            picture = Prepared(request, (request.task.image,), (), (), image_tokens=0, limit=0)
            return ResultJob(embedded(self._model, picture, self.info.model, is_cancelled))
        if isinstance(request.task, LookTask):
            look = self._model.prepare_look(request, request.task)
            return ResultJob(Looking(self._model, look, is_cancelled).events())
        if isinstance(request.task, HideTask):
            hide = self._model.prepare_hide(request, request.task)
            return ResultJob(Hiding(self._model, hide, is_cancelled).events())
        if isinstance(request.task, PatchTask):
            prepared = self._model.prepare_patches(request, request.task)
            return ResultJob(patched(self._model, prepared, is_cancelled))
        prepared, task = self._model.prepare(request), request.task
        text = AnswerText(
            self._model.inputs.tokenizer,
            self._model.stop_ids,
            task.stop,
            prepared.limit,
            loop_guard(task),
            keeps_lead=task.prompt_end == "final_text",
        )
        return AnswerJob(Generation(self._model, prepared, is_cancelled, draft), text, is_cancelled)

    def _group_failure(self, error: Exception, size: int) -> Exception:
        """Return what each of `size` jobs receives for an `error` in their common pass."""
        if size == 1:
            return error
        # One of them may be the cause, or all together need too much memory. Each runs its pass
        # again, in smaller batches, down to one.
        self._batch_size = max(1, size // 2)
        self._good_batches = 0
        log.warning("A batch of %d requests failed; the next ones have %d", size, self._batch_size)
        return SharedPassError("A pass of several requests failed.")

    def _recover_batch_size(self, size: int) -> None:
        """Double a reduced batch size after enough full batches without a failure."""
        largest = self._model.runtime.max_batch
        if size < self._batch_size or self._batch_size == largest:
            return
        self._good_batches += 1
        if self._good_batches >= _RECOVERY_BATCHES:
            self._batch_size = min(largest, 2 * self._batch_size)
            self._good_batches = 0


def _sides(inputs: InputBuilder) -> tuple[TileSide, ...]:
    """Return the sides of the one tile of a frame, from the smallest."""
    details: tuple[Detail, ...] = ("tiny", "small", "low")
    tokens = [inputs.image_processor.grid_of((1, 1), each).tile_tokens for each in details]
    return tuple(
        # What smaller tiles lose is not known.
        TileSide(detail, count / tokens[-1], 0.0 if detail == "low" else None)
        for detail, count in zip(details, tokens, strict=True)
    )
