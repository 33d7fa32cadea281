"""Make a checkpoint with a published model's exact shape and random weights, for tests and timing.

`python -m tools.random_checkpoint SRC OUT [--seed N]`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vlm.checkpoints.files import WEIGHTS_FILE, check_config, check_processor
from vlm.errors import CheckpointError, SightlineError


def make_random(source: Path, out: Path, seed: int = 0) -> None:
    """Write a checkpoint with the shape and processor of `source` and random bfloat16 weights.

    Their standard deviation is one over the square root of the hidden size, as in SmolVLM's text
    model: with the usual 0.02, small models answer every frame with the same word. `out` appears
    complete or not at all. Raises CheckpointError if `source` is not a SmolVLM or `out` exists,
    OSError if writing fails.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    check_config(source)
    check_processor(source)
    if out.exists():
        raise CheckpointError(f"{out} exists already. Choose a folder that does not exist.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(source, local_files_only=True)
        for part in (config.text_config, config.vision_config):
            part.initializer_range = part.hidden_size**-0.5
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    weights = model.to(torch.bfloat16).state_dict()
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        partial = Path(scratch) / out.name
        partial.mkdir()
        for file in source.iterdir():
            if file.suffix in (".json", ".jinja", ".txt") and "safetensors" not in file.name:
                shutil.copyfile(file, partial / file.name)
        save_file(weights, partial / WEIGHTS_FILE, metadata={"format": "pt"})
        partial.rename(out)


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.random_checkpoint")
    parser.add_argument("source", type=Path, metavar="SRC", help="folder with config and processor")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; must not exist")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random weights (default: 0)"
    )
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    try:
        make_random(arguments.source, out, arguments.seed)
    except SightlineError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{out} could not be written: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"Made {out}: {(out / WEIGHTS_FILE).stat().st_size} bytes of random weights.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
