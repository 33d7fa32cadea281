"""The command line of `python -m vlm.checkpoints`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlm.checkpoint_files import WEIGHTS_FILE
from vlm.checkpoint_random import make_random
from vlm.errors import CheckpointError


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vlm.checkpoints")
    commands = parser.add_subparsers(dest="command", required=True)
    random = commands.add_parser("random", help="make a checkpoint with random weights")
    random.add_argument("source", type=Path, metavar="SRC", help="folder with config and processor")
    random.add_argument("out", type=Path, metavar="OUT", help="folder to make; must not exist")
    random.add_argument("--seed", type=int, default=0, help="of the random weights (default: 0)")
    arguments = parser.parse_args(argv)
    try:
        make_random(arguments.source, arguments.out, arguments.seed)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{arguments.out} could not be written: {error.strerror}.", file=sys.stderr)
        return 1
    weights = arguments.out / WEIGHTS_FILE
    print(f"Made {arguments.out}: {weights.stat().st_size} bytes of random weights.")
    return 0
