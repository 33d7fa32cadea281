"""Load a checked checkpoint folder as a transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm.checkpoints.files import CONFIG_FILE
from vlm.errors import CheckpointError


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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
