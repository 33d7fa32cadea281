"""The command line of `python -m tools.evals tokens`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final, get_args

import numpy as np

from tools.bench.machine import describe_machine
from tools.evals.figures import Figure, as_json, table
from tools.evals.tokens.pruning import PrunedModel, at_random, diverse
from tools.nano.evaluate import ANSWER_TOKENS, ObjectF1
from tools.nano.scenes import make_frame
from vlm.checkpoints.catalogue import BUNDLED_FOLDER, BUNDLED_MODEL
from vlm.errors import SettingsError
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.settings import Settings
from vlm.types import Detail, Request

# Of nano's 64 image tokens.
_KEPT: Final = (48, 32, 16)
_DETAILS: Final = tuple(each for each in get_args(Detail) if each != "high")


def run(argv: Sequence[str]) -> int:
    """Measure, print a table and one line of JSON; return the exit code."""
    options = _parser().parse_args(argv)
    if options.scenes < 1:
        raise SettingsError("Raise --scenes to 1 at least.")
    engine, model = load_engine(Settings(model=BUNDLED_MODEL)), PrunedModel(BUNDLED_FOLDER)
    scores: defaultdict[str, ObjectF1] = defaultdict(ObjectF1)
    first_ms: defaultdict[str, list[float]] = defaultdict(list)
    for seed in range(options.scenes):
        frame = make_frame(seed, "held_out")
        for detail in _DETAILS:
            request = Request.about(frame.image, DEFAULT_PROMPT, ANSWER_TOKENS, detail)
            result = engine.run(request)
            first_ms[detail].append(1000 * result.stats.ttft_s)
            scores[detail].add(result.text, frame.scene)
        features = model.features(frame.image)
        everything = np.arange(len(features))
        ways = {"all, in torch": (everything, False)}
        for count in _KEPT:
            some = diverse(features, count)
            ways[f"{count} diverse"] = (some, False)
            ways[f"{count} random"] = (at_random(features, count, seed), False)
            ways[f"{count} diverse, closed"] = (some, True)
        for name, (kept, closes) in ways.items():
            text = model.answer(features, DEFAULT_PROMPT, kept, ANSWER_TOKENS, closes)
            scores[name].add(text, frame.scene)
    figures = [
        Figure(
            name, score.value(), note=f"{median(times):.1f} ms" if (times := first_ms[name]) else ""
        )
        for name, score in scores.items()
    ]
    print(f"object F1 of {options.scenes} scenes, and the time to the first token")
    print(table(figures))
    print(json.dumps({"figures": as_json(figures), "machine": describe_machine()}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evals tokens",
        description="The loss of nano's captions with smaller tiles, and with fewer image tokens: "
        "by max-min diversity or by chance, at their own positions or with the gaps closed.",
    )
    parser.add_argument(
        "--scenes", type=int, default=300, help="held-out scenes (default: %(default)s)"
    )
    return parser
