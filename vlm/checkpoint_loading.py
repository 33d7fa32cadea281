"""What a checked checkpoint folder is loaded into: its processor, its model, the ids that end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm.checkpoint_files import CONFIG_FILE, read_json
from vlm.errors import CheckpointError
from vlm.processing.tokenizer import END_OF_UTTERANCE, Tokenizer


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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
