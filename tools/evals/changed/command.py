"""The command line of `python -m tools.evals changed`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from PIL import Image

from tools.bench.machine import describe_machine
from tools.evals.changed.sequences import CHANGES, NOISES, make_sequence
from tools.evals.figures import Figure, as_json, share, table
from tools.nano.evaluate import ANSWER_TOKENS, ObjectF1
from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.errors import SettingsError
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.settings import Settings
from vlm.types import Request

_LEAST_AGREEMENT: Final = 0.99
_MOST_DROP: Final = 0.003
# The patches of nano's frame.
_PATCHES: Final = 256


def run(argv: Sequence[str]) -> int:
    """Measure, print a table and one line of JSON; return the exit code."""
    options = _parser().parse_args(argv)
    if options.sequences < 1:
        raise SettingsError("Raise --sequences to 1 at least.")
    exact = load_engine(Settings(model=BUNDLED_MODEL, exact=True))
    reusing = load_engine(Settings(model=BUNDLED_MODEL))
    same: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    f1_exact, f1_reusing = ObjectF1(), ObjectF1()
    patches: Counter[str] = Counter()
    noise_same = 0
    different: list[str] = []
    for seed in range(options.sequences):
        sequence = make_sequence(seed)
        again = make_sequence(seed, draw=1)
        for index, (image, scene) in enumerate(sequence.frames):
            request = _request(image, seed)
            whole, part = exact.run(request), reusing.run(request)
            f1_exact.add(whole.text, scene)
            f1_reusing.add(part.text, scene)
            if index == 0:
                # Encoded whole by both.
                continue
            for group in ("all", sequence.change, f"noise {sequence.noise:g}"):
                counted[group] += 1
                patches[group] += part.stats.patches
                same[group] += whole.text == part.text
            other = exact.run(_request(again.frames[index][0], seed))
            noise_same += whole.text == other.text
            if whole.text != part.text and len(different) < options.show:
                kind = f"{seed}.{index} ({sequence.change}, noise {sequence.noise:g})"
                different.append(f"{kind}: {part.text!r} instead of {whole.text!r}")
    for line in different:
        print(line, file=sys.stderr)
    figures = [
        share("agreement", same["all"], counted["all"], "frames", least=_LEAST_AGREEMENT),
        share("noise_agreement", noise_same, counted["all"], "frames whole, with other noise"),
        Figure("f1_drop", _drop(f1_exact, f1_reusing), most=_MOST_DROP),
        Figure("patches_mean", patches["all"] / counted["all"] / _PATCHES, note="share of all"),
        *(
            share(
                group,
                same[group],
                counted[group],
                f"agree, {patches[group] / counted[group] / _PATCHES:.2f} of the patches encoded",
            )
            for group in (*CHANGES, *(f"noise {each:g}" for each in NOISES))
            if counted[group]
        ),
    ]
    print(table(figures))
    print(json.dumps({"figures": as_json(figures), "machine": describe_machine()}))
    return 0


def _request(image: Image.Image, seed: int) -> Request:
    return Request.about(image, DEFAULT_PROMPT, ANSWER_TOKENS, camera=f"still {seed}", kind="live")


def _drop(exact: ObjectF1, reusing: ObjectF1) -> float | None:
    before, after = exact.value(), reusing.value()
    return None if before is None or after is None else before - after


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evals changed",
        description="How often nano's captions of a still camera agree with and without what is "
        "kept of its last frames.",
    )
    parser.add_argument(
        "--sequences", type=int, default=500, help="of ten frames each (default: %(default)s)"
    )
    parser.add_argument(
        "--show", type=int, default=20, help="captions that differ to print (default: %(default)s)"
    )
    return parser
