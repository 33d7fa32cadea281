"""What lies in a checkpoint folder, checked before anything is loaded. Standard library only."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlm.errors import CheckpointError

MODEL_CLASSES: Final = {
    "idefics3": "Idefics3ForConditionalGeneration",
    "smolvlm": "SmolVLMForConditionalGeneration",
}
CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
WEIGHTS_INDEX_FILE: Final = "model.safetensors.index.json"
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json")
# Older releases of transformers write the first, newer ones the second with the first inside.
IMAGE_PROCESSOR_FILES: Final = ("preprocessor_config.json", "processor_config.json")
CHAT_TEMPLATE_FILES: Final = ("chat_template.jinja", "chat_template.json")

_REMEDY: Final = "Copy or download the whole checkpoint again."


@dataclass(frozen=True)
class ModelSize:
    """What the memory of a model is counted from.

    `parameters` are all that the weights hold; `vision_parameters` (the vision encoder and the
    connector behind it) and `embedding_parameters` (of the tokens that go in) are parts of them.
    Each of `context_tokens` keeps a key and a value of `head_dim` numbers for each of `kv_heads`
    in each of `layers`.
    """

    parameters: int
    vision_parameters: int
    embedding_parameters: int
    layers: int
    kv_heads: int
    head_dim: int
    context_tokens: int


def check_folder(folder: Path) -> None:
    """Raises CheckpointError, naming the file, where `folder` is no complete SmolVLM checkpoint."""
    check_config(folder)
    check_processor(folder)
    for file in weight_files(folder):
        size, (_, expected_size) = file.stat().st_size, _read_header(file)
        if size != expected_size:
            raise CheckpointError(
                f"{file} has {size} bytes where its header promises {expected_size}. {_REMEDY}"
            )


def check_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of `folder`; raises CheckpointError where it is not of SmolVLM's kind."""
    if not folder.exists():
        raise CheckpointError(f"There is no folder {folder}. Check the path after --model.")
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is a file. Name the folder that holds {CONFIG_FILE} and the weights."
        )
    config = read_json(folder / CONFIG_FILE)
    check_architecture(config, str(folder / CONFIG_FILE))
    return config


def check_architecture(config: dict[str, Any], source: str) -> None:
    """Raises CheckpointError, naming `source`, where `config` is not of a model of our kind."""
    model_type = config.get("model_type")
    if model_type not in MODEL_CLASSES:
        raise CheckpointError(
            f"{source} is of a model of type {model_type!r}. Sightline runs SmolVLM: "
            f"{' and '.join(MODEL_CLASSES)}. Choose another --model."
        )
    classes = config.get("architectures") or [MODEL_CLASSES[model_type]]
    if MODEL_CLASSES[model_type] not in classes:
        raise CheckpointError(
            f"{source} names the class {classes[0]!r}, which cannot caption. "
            f"Sightline needs {MODEL_CLASSES[model_type]}. Choose another --model."
        )


def check_processor(folder: Path) -> None:
    """Raises CheckpointError where tokenizer, image processor or chat template are missing."""
    for name in TOKENIZER_FILES:
        read_json(folder / name)
    if not any("image_processor_type" in each for each in _image_processor_configs(folder)):
        raise CheckpointError(_missing(folder, " or ".join(IMAGE_PROCESSOR_FILES)))
    if not any((folder / name).is_file() for name in CHAT_TEMPLATE_FILES):
        inside = [read_json(folder / TOKENIZER_FILES[1])]
        if (folder / IMAGE_PROCESSOR_FILES[1]).is_file():
            inside.append(read_json(folder / IMAGE_PROCESSOR_FILES[1]))
        if not any(each.get("chat_template") for each in inside):
            raise CheckpointError(_missing(folder, " or ".join(CHAT_TEMPLATE_FILES)))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of `folder`, all of them there; raises CheckpointError where not."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / WEIGHTS_INDEX_FILE).is_file():
        message = _missing(folder, WEIGHTS_FILE)
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
            message += " Pickled weights (.bin, .pt) are not read: they could run code."
        raise CheckpointError(message)
    weight_map = read_json(folder / WEIGHTS_INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / WEIGHTS_INDEX_FILE} lists no weights. {_REMEDY}")
    files = [folder / name for name in sorted(set(weight_map.values()))]
    for file in files:
        if not file.is_file():
            raise CheckpointError(_missing(folder, file.name))
    return files


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in the weights of `folder`, by its name."""
    return {
        name: tuple(tensor["shape"])
        for file in weight_files(folder)
        for name, tensor in _read_header(file)[0].items()
    }


def parameter_count(folder: Path) -> int:
    """How many numbers the weights of `folder` hold, whatever their precision."""
    return sum(math.prod(shape) for shape in tensor_shapes(folder).values())


def model_size(folder: Path) -> ModelSize:
    """The size of the model in `folder`, by its configuration and the headers of its weights.

    Raises CheckpointError where one of them is missing, damaged or no SmolVLM's.
    """
    counts = {name: math.prod(shape) for name, shape in tensor_shapes(folder).items()}
    text: Any = check_config(folder).get("text_config")
    try:
        # Configurations leave out what is transformers' default for their text model, a Llama.
        heads = int(text.get("num_attention_heads") or 32)
        return ModelSize(
            parameters=sum(counts.values()),
            vision_parameters=sum(
                count
                for name, count in counts.items()
                if ".vision_model." in name or ".connector." in name
            ),
            embedding_parameters=sum(
                count for name, count in counts.items() if name.endswith(".embed_tokens.weight")
            ),
            layers=int(text.get("num_hidden_layers") or 32),
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head_dim=int(text.get("head_dim") or text.get("hidden_size") // heads),
            context_tokens=int(text.get("max_position_embeddings") or 2048),
        )
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(
            f"{folder / CONFIG_FILE} does not tell the size of its text model. {_REMEDY}"
        ) from None


def read_json(file: Path) -> dict[str, Any]:
    """The object in `file`; raises CheckpointError where it is missing, unreadable or not one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(_missing(file.parent, file.name)) from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise CheckpointError(f"{file} is damaged: not JSON. {_REMEDY}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} is damaged: not a JSON object. {_REMEDY}")
    return value


def _missing(folder: Path, name: str) -> str:
    return f"The checkpoint {folder} is incomplete: {name} is missing. {_REMEDY}"


def _image_processor_configs(folder: Path) -> list[dict[str, Any]]:
    configs = [
        read_json(folder / name) for name in IMAGE_PROCESSOR_FILES if (folder / name).is_file()
    ]
    return configs + [each.get("image_processor") or {} for each in configs]


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The tensors that a safetensors file names, and how many bytes it must have.

    https://huggingface.co/docs/safetensors: 8 bytes of header length, the header, the tensors.
    """
    with file.open("rb") as opened:
        header_size = int.from_bytes(opened.read(8), "little")
        # Files that are no safetensors at all would otherwise ask for petabytes here.
        header = opened.read(header_size) if header_size < file.stat().st_size else b""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
        return tensors, 8 + header_size + max(ends, default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise CheckpointError(f"{file} is damaged: not a safetensors file. {_REMEDY}") from None
