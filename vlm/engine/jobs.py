"""Requests in flight in an engine: their passes, and the events that come out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vlm.engine.generation import Generation
from vlm.engine.passes import PASSES, Pass, Passes
from vlm.engine.sampling import Token
from vlm.engine.scoring import Scoring
from vlm.engine.text import AnswerText
from vlm.results import Result, Scored, StreamEvent


class EngineJob:
    """One request in flight; a subclass makes events of what its passes yield in between."""

    def __init__(self, steps: Passes[Any]) -> None:
        self._steps = steps
        self._events: list[StreamEvent | Exception] = []
        self.is_over = False
        """There are no more passes."""
        self.wanted: Pass | None = None
        """The pass that the job needs next; None before its start and after its end."""

    def start(self) -> None:
        """Run up to the first pass."""
        self._run(lambda: next(self._steps))

    def resume(self, output: Any) -> None:
        """Continue with the output of the wanted pass, or with the Exception that it raised."""
        self.wanted = None
        if isinstance(output, Exception):
            self._run(lambda: self._steps.throw(output))
        else:
            self._run(lambda: self._steps.send(output))

    def drain(self) -> list[StreamEvent | Exception]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Cancel the job. Idempotent."""
        self._steps.close()
        self.wanted, self.is_over = None, True

    def _run(self, step: Callable[[], Any]) -> None:
        try:
            made = step()
            while not isinstance(made, PASSES):
                if not self._take(made):
                    self.close()
                    return
                made = next(self._steps)
            self.wanted = made
        except StopIteration:
            self._end()
            self.close()
        except Exception as error:
            self._events.append(error)
            self.is_over = True

    def _take(self, made: Any) -> bool:
        """Make events of what the passes yielded; return whether the job goes on."""
        raise NotImplementedError

    def _end(self) -> None:
        """Add the last events, after the last pass."""


class AnswerJob(EngineJob):
    """A request for an answer in text."""

    def __init__(
        self, generation: Generation, text: AnswerText, is_cancelled: Callable[[], bool]
    ) -> None:
        super().__init__(generation.tokens())
        self._generation = generation
        self._text = text
        self._is_cancelled = is_cancelled

    def _take(self, made: Token) -> bool:
        self._events += self._text.add(made)
        if self._text.is_cut:
            self._end()
        return not self._text.is_cut

    def _end(self) -> None:
        # Before the result, so that what a closed generation keeps is kept.
        self._steps.close()
        prepared, encoding = self._generation.prepared, self._generation.encoding
        self._events += self._text.finish(
            self._is_cancelled(),
            len(prepared.input_ids),
            prepared.image_tokens,
            encoding.patches,
            encoding.kept,
            self._generation.counts,
        )


class ScoreJob(EngineJob):
    """A request to score answers. Between two of its passes, the answers in flight go first."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring.events())
        self._ahead: set[EngineJob] = set()

    def waits_for(self, answers: Iterable[EngineJob]) -> bool:
        """Return whether one of `answers`, those in flight, goes first."""
        self._ahead.intersection_update(answers)
        return bool(self._ahead)

    def let_pass(self, answers: Iterable[EngineJob]) -> None:
        """Let `answers`, those in flight, end before the next pass."""
        self._ahead = set(answers)

    def _take(self, made: Scored) -> bool:
        self._events.append(made)
        return True


class ResultJob(EngineJob):
    """A request whose passes yield nothing but its result."""

    def _take(self, made: Result) -> bool:
        self._events.append(made)
        return True
