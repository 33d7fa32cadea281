"""What several measurements of one figure come to."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Least, median and most of `values`; None of none."""
    if not values:
        return None
    return {"min": min(values), "median": median(values), "max": max(values)}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (0..1) of `values` do not exceed, between two where it falls between.

    None of no values.
    """
    return float(np.quantile(values, share)) if values else None
