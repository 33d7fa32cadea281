"""What turns a model's scores into probabilities that hold, measured once for each number format.

`python -m tools.evals calibrate` makes the files, on scenes that no figure is measured on. Scaling
by a temperature is that of Guo et al., 2017, arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("calibrations")


@dataclass(frozen=True)
class Calibration:
    """Without one, all temperatures are 1 and nothing is known of "none" and "unsure"."""

    label_temperature: float
    """Divides the log probabilities of labels."""
    none_logprob: float
    """A label with this log probability is as likely as none of them."""
    yes_temperature: float
    """Divides the difference of the log probabilities of yes and no."""
    yes_bias: float
    """Is added to it afterwards."""
    unsure: float
    """An answer whose tokens together have less probability is unsure."""
    unsupported: float
    """A claim with a smaller probability is not supported by the picture."""
    doubtful: float = 0.0
    """A claim with a smaller probability is looked at once more."""


@cache
def calibration_of(model: str, dtype: str) -> Calibration | None:
    """Return the calibration of a model in a number format, as in `EngineInfo`; None without."""
    # A name may be a repository's, or any text of another server: never a path to follow.
    files = {file.stem: file for file in FOLDER.glob("*.json")}
    file = files.get(f"{model}-{dtype}")
    return None if file is None else Calibration(**json.loads(file.read_text("utf-8")))


def log_sum(values: Sequence[float]) -> float:
    """Return the logarithm of the sum of probabilities whose logarithms are `values`."""
    most = max(values)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(value - most) for value in values))


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)) without overflow."""
    if value < 0:
        return math.exp(value) / (1 + math.exp(value))
    return 1 / (1 + math.exp(-value))


def logit(probability: float) -> float:
    """Return the log odds of a probability, bounded so that 0 and 1 have some too."""
    bounded = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(bounded / (1 - bounded))
