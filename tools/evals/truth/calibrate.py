"""The command line of `python -m tools.evals calibrate`: make the calibration of nano."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tools.evals.truth.answers import asked_about
from tools.evals.truth.asking import LocalModel
from tools.evals.truth.measures import Floats
from tools.evals.truth.scenes import (
    LABELS,
    SETTINGS,
    names_in,
    poll_of,
    scenes_with_objects,
    single_objects,
)
from tools.nano.scenes import Split, make_frame
from vlm.prompts import DEFAULT_PROMPT
from vlm.scoring.calibration import FOLDER, Calibration, log_sum, logit, sigmoid
from vlm.scoring.claims import phrases_of, said_probabilities
from vlm.scoring.second_look import Doubts
from vlm.scoring.sure import sure_of
from vlm.settings import DTYPES, RUNTIMES, Settings

# The truth is measured on another one.
_SPLIT: Final[Split] = "test"
_STEPS: Final = 50
# Shares of the right answers that are called unsure, and of the right claims that are not
# supported: what is wrong is mostly far below.
_RIGHT_UNSURE: Final = 0.02
_RIGHT_UNSUPPORTED: Final = 0.02
# Of the right claims that are looked at once more.
_RIGHT_DOUBTFUL: Final = 0.2


def run(argv: Sequence[str]) -> int:
    """Write the file; return the exit code."""
    options = _parser().parse_args(argv)
    settings = Settings(model="nano", runtime=options.runtime, dtype=options.dtype)
    model = LocalModel(settings)
    temperature, bias = _yes(model, options.scenes)
    label_temperature, none = _labels(model, options.scenes)
    made = Calibration(
        label_temperature=label_temperature,
        none_logprob=none,
        yes_temperature=temperature,
        yes_bias=bias,
        unsure=_unsure(model, options.scenes),
        unsupported=0.0,
    )
    made = _claims(model, options.scenes, made)
    model.close()
    values = {key: float(f"{value:.6g}") for key, value in asdict(made).items()}
    file = FOLDER / f"{model.name}-{model.dtype}.json"
    file.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    print(json.dumps(values))
    return 0


def _yes(model: LocalModel, scenes: int) -> tuple[float, float]:
    """Return temperature and bias of yes/no answers, by logistic regression."""
    odds: list[float] = []
    truths: list[bool] = []
    for seed, frame in tqdm(scenes_with_objects(scenes, _SPLIT), "questions", scenes):
        poll = poll_of(frame.scene, seed)
        things = [*poll.present, *(each for one in SETTINGS for each in poll.absent[one])]
        found = [*map(logit, model.existence(frame.image, things, calibrated=False))]
        # What is there is asked for in each setting.
        present = len(poll.present)
        odds += [*found[:present] * len(SETTINGS), *found[present:]]
        truths += [True] * present * len(SETTINGS) + [False] * (len(found) - present)
    return logistic(np.array(odds), np.array(truths))


def logistic(odds: Floats, truths: Floats) -> tuple[float, float]:
    """Return the temperature and the bias with which `odds` are likeliest, by Newton's method."""
    rows = np.stack([odds, np.ones(len(odds))], 1)
    signs = np.where(truths, 1.0, -1.0)

    def loss(weights: Floats) -> float:
        return float(np.logaddexp(0, -signs * (rows @ weights)).sum())

    weights = np.zeros(2)
    for _ in range(_STEPS):
        yes = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (truths - yes)
        curve = rows.T @ (rows * (yes * (1 - yes))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        # A step that is too long is halved.
        while loss(weights + step) > loss(weights) and np.abs(step).max() > 1e-9:
            step /= 2
        weights += step
    return 1 / float(weights[0]), float(weights[1])


def _labels(model: LocalModel, scenes: int) -> tuple[float, float]:
    """Return temperature and threshold of labels with the least cross-entropy, by a grid."""
    known: list[tuple[float, Floats]] = []
    for frame, name in tqdm(single_objects(scenes // 4, _SPLIT), "labels", scenes // 4):
        found = model.labels(frame.image, LABELS).labels
        right = next(each.logprob for each in found if each.label == name)
        known.append((right, np.array([each.logprob for each in found])))
    unknown: list[Floats] = []
    for seed in tqdm(range(scenes // 4), "unfamiliar"):
        found = model.labels(make_frame(seed, _SPLIT, "unfamiliar").image, LABELS).labels
        unknown.append(np.array([each.logprob for each in found]))

    def loss(temperature: float, none: float) -> float:
        total = 0.0
        for right, logprobs in known:
            total += log_sum([*(logprobs / temperature), none / temperature]) - right / temperature
        for logprobs in unknown:
            total += log_sum([*(logprobs / temperature), none / temperature]) - none / temperature
        return total

    grid = [(0.2 * 1.2**step, -0.5 * level) for step in range(18) for level in range(1, 50)]
    return min(grid, key=lambda each: loss(*each))


def _unsure(model: LocalModel, scenes: int) -> float:
    """Return the probability that few right answers fall below."""
    right: list[float] = []
    wrong = 0
    for seed in tqdm(range(scenes), "answers"):
        frame = make_frame(seed, _SPLIT)
        for prompt, answer in asked_about(frame, seed):
            text, tokens = model.answer_tokens(frame.image, prompt)
            sure = sure_of(text, tokens, None)
            if sure is not None and text == answer:
                right.append(sure.probability)
            wrong += text != answer
    print(f"{len(right)} right answers, {wrong} wrong ones")
    return float(np.quantile(right, _RIGHT_UNSURE))


def _claims(model: LocalModel, scenes: int, made: Calibration) -> Calibration:
    """Return `made` with the probabilities that some, and few, right claims fall below."""
    judged: list[tuple[Doubts, list[bool]]] = []
    for seed in tqdm(range(scenes), "claims"):
        frame = make_frame(seed, _SPLIT)
        text, tokens = model.answer_tokens(frame.image, DEFAULT_PROMPT)
        phrases = phrases_of(text)
        if not phrases:
            continue
        things = [each.thing for each in phrases]
        raw = model.existence(frame.image, things, calibrated=False)
        asked = [sigmoid(logit(each) / made.yes_temperature + made.yes_bias) for each in raw]
        said = said_probabilities(phrases, sure_of(text, tokens, None))
        doubts = Doubts(frame.image, phrases, asked, said, model.name)
        judged.append((doubts, [each in names_in(frame.scene) for each in things]))
    first = [value for doubts, _ in judged for value in doubts.first()]
    truths = np.array([is_right for _, rights in judged for is_right in rights])
    doubtful = float(np.quantile(np.array(first)[truths], _RIGHT_DOUBTFUL))
    made = replace(made, doubtful=doubtful)
    second: list[float] = []
    for doubts, _ in tqdm(judged, "second looks"):
        second += model.second_look(doubts, made)
    least = float(np.quantile(np.array(second)[truths], _RIGHT_UNSUPPORTED))
    caught = int((np.array(second)[~truths] < least).sum())
    print(
        f"{int(truths.sum())} right claims, {int((~truths).sum())} wrong ones, {caught} of them "
        f"below {least:.4f}; without a second look "
        f"{_caught(np.array(first), truths)}"
    )
    return replace(made, unsupported=math.nextafter(least, 0))


def _caught(values: Floats, truths: npt.NDArray[np.bool_]) -> int:
    return int((values[~truths] < np.quantile(values[truths], _RIGHT_UNSUPPORTED)).sum())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evals calibrate",
        description="Write vlm/scoring/calibrations/nano-DTYPE.json, from scenes of the split "
        "`test`; `python -m tools.evals truth` measures on another split.",
    )
    parser.add_argument("--scenes", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="as for app.py")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="as for app.py")
    return parser
