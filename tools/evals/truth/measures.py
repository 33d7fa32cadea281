"""Measures of answers and of their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BINS: Final = 15
_RESAMPLES: Final = 300
# Of the normal distribution, for 95 %.
_Z: Final = 1.96


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Return the probability that a positive has the higher score; ties count a half."""
    high, low = np.sort(np.asarray(positives)), np.asarray(negatives)
    above = len(high) - np.searchsorted(high, low, side="right")
    ties = len(high) - np.searchsorted(high, low, side="left") - above
    return float((above + ties / 2).sum() / (len(high) * len(low)))


def calibration_error(probabilities: Sequence[float], truths: Sequence[bool]) -> float:
    """Return the expected calibration error of yes/no answers (Guo et al., 2017).

    The confidence is that of the likelier answer, 0.5 to 1, in 15 bins of equal width over 0 to 1.
    """
    yes, truth = np.asarray(probabilities), np.asarray(truths)
    confidence = np.maximum(yes, 1 - yes)
    right = (yes >= 0.5) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for each in np.unique(bins):
        inside = bins == each
        error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927)."""
    if whole == 0:
        return 0.0, 1.0
    share = part / whole
    middle = (share + _Z**2 / (2 * whole)) / (1 + _Z**2 / whole)
    half = _Z / (1 + _Z**2 / whole)
    half *= (share * (1 - share) / whole + _Z**2 / (4 * whole**2)) ** 0.5
    return middle - half, middle + half


def resampled(
    measure: Callable[[Floats, npt.NDArray[np.bool_]], float],
    probabilities: Sequence[float],
    truths: Sequence[bool],
) -> tuple[float, float]:
    """Return the 95 % interval of `measure` over samples drawn with replacement, seeded."""
    rng = np.random.default_rng(0)
    yes, truth = np.asarray(probabilities), np.asarray(truths)
    values = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(yes), size=len(yes))
        if 0 < truth[drawn].sum() < len(drawn):
            values.append(measure(yes[drawn], truth[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
