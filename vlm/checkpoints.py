"""Checkpoints: from what `--model` names to a folder that is whole, its processor and its model.

`python -m vlm.checkpoints random SRC OUT` makes one of SRC's exact shape with random weights.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vlm.checkpoint_files import CONFIG_FILE, WEIGHTS_FILE, check_config, check_folder
from vlm.checkpoint_random import make_random
from vlm.errors import CheckpointError
from vlm.settings import DEFAULT_MODEL

BUNDLED_FOLDER: Final = Path(__file__).parent / "nano" / "checkpoint"

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Never pickles, and nothing from subfolders, where other engines' conversions lie.
_FETCHED: Final = ["*.json", "*.jinja", "*.txt", "*.safetensors"]
_NOT_FETCHED: Final = ["*/*"]


def resolve(model: str) -> Path:
    """The folder of `model`: "nano", a local folder, or a hub id, which is fetched where needed.

    The folder has been checked to hold all that a SmolVLM needs. Raises CheckpointError.
    """
    if model == DEFAULT_MODEL:
        folder = BUNDLED_FOLDER
    elif (local := Path(os.path.expanduser(model))).is_dir() or not _HUB_ID.fullmatch(model):
        folder = local
    else:
        folder = _fetch(model)
    check_folder(folder)
    return folder


def _fetch(hub_id: str) -> Path:
    """The folder of `hub_id` in the ordinary hub cache, downloaded where it is not there yet."""
    from huggingface_hub import errors, hf_hub_download, snapshot_download

    try:
        # The small file first: what is no SmolVLM is refused before its gigabytes come.
        check_config(Path(hf_hub_download(hub_id, CONFIG_FILE)).parent)
        return Path(
            snapshot_download(hub_id, allow_patterns=_FETCHED, ignore_patterns=_NOT_FETCHED)
        )
    except errors.GatedRepoError as error:
        reason = "its owners ask you to log in and accept their terms on its page"
        raise CheckpointError(_not_fetched(hub_id, reason)) from error
    except errors.RepositoryNotFoundError as error:
        reason = "there is neither a folder nor a model on the hub of that name"
        raise CheckpointError(_not_fetched(hub_id, reason)) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        reason = "the hub cannot be reached and the local cache does not hold it"
        raise CheckpointError(_not_fetched(hub_id, reason)) from error
    except (errors.HFValidationError, errors.EntryNotFoundError, OSError) as error:
        raise CheckpointError(_not_fetched(hub_id, _first_line(error))) from error


def _not_fetched(hub_id: str, reason: str) -> str:
    return f"The model {hub_id} cannot be had: {reason}. `--model nano` needs no download."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
