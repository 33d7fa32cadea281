"""Checkpoints: from what `--model` names to a folder that is whole, its processor and its model.

`python -m vlm.checkpoints random SRC OUT` makes one of SRC's exact shape with random weights.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vlm.checkpoint_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_config,
    check_folder,
    check_processor,
    read_json,
)
from vlm.errors import CheckpointError
from vlm.processing.tokenizer import END_OF_UTTERANCE, Tokenizer
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


def load_processor(folder: Path) -> Any:
    """transformers' Idefics3Processor of `folder`, whichever of the two classes its files name.

    SmolVLM's own class differs in video alone, and asks for packages that only videos need.
    """
    from transformers import Idefics3Processor

    try:
        return Idefics3Processor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(
            f"The processor in {folder} cannot be loaded: {_first_line(error)}"
        ) from error


def load_model(folder: Path, dtype: Any, device: str, *, spread: bool = False) -> Any:
    """The transformers model of `folder` in torch `dtype` on `device`, ready for inference.

    With `spread` accelerate lays it over all GPUs, and over CPU memory where those are too small.
    Raises CheckpointError where weights are missing or of another shape than the configuration's.
    """
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            device_map="auto" if spread else None,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            # Reported below by name, where transformers would point to a table it prints.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        model = model if spread else model.to(device)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"The model in {folder} cannot be loaded: {_first_line(error)}"
        ) from error
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise CheckpointError(
            f"The weights in {folder} do not fit its {CONFIG_FILE}: {len(absent)} tensors are "
            f"missing or of another shape, {absent[0]} for one. Get the whole checkpoint again."
        )
    return model.eval()


def stop_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end an answer: the generation config's, the tokenizer's and SmolVLM's own."""
    file = folder / "generation_config.json"
    named = read_json(file).get("eos_token_id") if file.is_file() else None
    ids = [*named] if isinstance(named, list) else [named]
    ids += [tokenizer.eos_id, tokenizer.id_of(END_OF_UTTERANCE)]
    return frozenset(each for each in ids if each is not None)


def make_random(source: Path, out: Path, seed: int = 0) -> None:
    """Write a checkpoint with the shape and processor of `source` and random bfloat16 weights.

    Their standard deviation is one over the root of the hidden size, as SmolVLM's text model has
    it: with the usual 0.02, small models answer every frame with one word. `out` appears whole or
    not at all. Raises CheckpointError where `source` is no SmolVLM or `out` exists; OSError where
    writing fails.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    check_config(source)
    check_processor(source)
    if out.exists():
        raise CheckpointError(f"{out} exists already. Name a folder that does not.")
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
