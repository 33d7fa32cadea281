"""Yes/no questions about things: the probability of yes, one tree for all of them.

The probability is that of VQAScore (Lin et al., 2024, arxiv.org/abs/2404.01291), over both answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlm.scoring.calibration import Calibration, log_sum, sigmoid
from vlm.scoring.phrasing import Phrasing, with_article
from vlm.types import Choices


@dataclass(frozen=True)
class Existence:
    """How likely a thing is in the picture."""

    probability: float
    """0 to 1."""
    logprob: float
    """Natural logarithm of the model's own probability of yes."""


def existence_choices(things: Sequence[str], phrasing: Phrasing) -> tuple[Choices, ...]:
    """Return a question for each of `things`, which are as a label is written: "red star"."""
    answers = (*phrasing.yes, *phrasing.no)
    return tuple(
        Choices(phrasing.existence_question.format(thing=with_article(thing)), answers)
        for thing in things
    )


def existence(
    logprobs: Sequence[float], phrasing: Phrasing, calibration: Calibration | None
) -> Existence:
    """Return what the scores of the answers of one of `existence_choices` say."""
    yes = log_sum(logprobs[: len(phrasing.yes)])
    odds = yes - log_sum(logprobs[len(phrasing.yes) :])
    if calibration is not None:
        odds = odds / calibration.yes_temperature + calibration.yes_bias
    return Existence(sigmoid(odds), yes)
