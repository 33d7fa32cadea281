"""The command line of `python -m tools.evals memory`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Final

from tools.bench.machine import describe_machine
from tools.evals.figures import Figure, as_json, table
from tools.evals.memory.day import day_figures
from tools.evals.memory.load import caption_figures, kill_figures, load_figures
from tools.evals.memory.pairs import pair_figures
from vlm.errors import SettingsError

_PARTS: Final[dict[str, Callable[[int], list[Figure]]]] = {
    "pair": pair_figures,
    "day": day_figures,
    "load": load_figures,
    "kill": kill_figures,
    "captions": caption_figures,
}


def run(argv: Sequence[str]) -> int:
    """Measure, print a table and one line of JSON; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.evals memory")
    parser.add_argument("--only", choices=_PARTS, action="append", help="default: all")
    parser.add_argument(
        "--scenes", type=int, default=2000, help="of pair and day, default: %(default)s"
    )
    options = parser.parse_args(argv)
    if options.scenes < 1:
        raise SettingsError("Raise --scenes to 1 at least.")
    figures = [
        figure
        for name, measure in _PARTS.items()
        if options.only is None or name in options.only
        for figure in measure(options.scenes)
    ]
    print(table(figures))
    print(json.dumps({"figures": as_json(figures), "machine": describe_machine()}))
    return 0
