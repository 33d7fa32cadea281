"""The files of a checkpoint folder, checked before a model is loaded. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from vlm.checkpoints.other_formats import check_head, check_plain, files_in, other_format
from vlm.errors import CheckpointError

MODEL_CLASSES: Final = {
    "idefics3": "Idefics3ForConditionalGeneration",
    "smolvlm": "SmolVLMForConditionalGeneration",
}
CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
WEIGHTS_INDEX_FILE: Final = "model.safetensors.index.json"
TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZER_CONFIG_FILE: Final = "tokenizer_config.json"
PROCESSOR_FILE: Final = "processor_config.json"
# Older releases of transformers write this one, newer ones put its content into PROCESSOR_FILE.
OLDER_PROCESSOR_FILE: Final = "preprocessor_config.json"
CHAT_TEMPLATE_FILE: Final = "chat_template.jinja"
OLDER_CHAT_TEMPLATE_FILE: Final = "chat_template.json"
# All files besides configuration and weights that a model may need.
PROCESSOR_FILES: Final = (
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    OLDER_PROCESSOR_FILE,
    PROCESSOR_FILE,
    CHAT_TEMPLATE_FILE,
    OLDER_CHAT_TEMPLATE_FILE,
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)

_REMEDY: Final = "Copy or download the whole checkpoint again."
# Enough to tell pointers and web pages.
_HEAD_BYTES: Final = 256
_PLAIN_DTYPES: Final = ("F64", "F32", "F16", "BF16")
# Names of tensors that hold weights, packed ones too.
_WEIGHT_NAMES: Final = ("weight", "weight_packed", "weights")


@dataclass(frozen=True)
class ModelSize:
    """The numbers from which the memory of a model is estimated."""

    parameters: int  # of all weights
    vision_parameters: int  # of the vision encoder and the connector
    embedding_parameters: int  # of the input token embeddings
    layers: int  # of the text model; each keeps, per token and KV head, a key and a value
    kv_heads: int
    head_dim: int  # numbers in a key or value
    context_tokens: int


class IncompleteError(CheckpointError):
    """A file of a checkpoint is missing."""


@dataclass(frozen=True)
class CheckpointKind:
    """A kind of model: what its folder must hold, and so what is downloaded."""

    other_files: tuple[str, ...]
    """All files besides configuration and weights that a model may need."""
    check_architecture: Callable[[dict[str, Any], str], None]
    """Raise CheckpointError, which names the source, if a configuration is of another kind."""
    check_folder: Callable[[Path], None]
    """Raise CheckpointError, which names the file, if a folder is not complete."""
    advice: str
    """The end of an error about a repository that lacks configuration or weights."""


def check_folder(folder: Path) -> None:
    """Raise CheckpointError if `folder` is no whole SmolVLM checkpoint.

    The message names the file, or says what the folder is instead.
    """
    config: dict[str, Any] | None = None
    try:
        config = check_config(folder)
        check_processor(folder)
        check_weights(folder, config)
    except IncompleteError as error:
        raise _what_it_is(folder, config) or error from None


def check_weights(folder: Path, config: dict[str, Any]) -> None:
    """Raise CheckpointError if weights are missing, cut short or quantised."""
    for file in weight_files(folder):
        header = _read_header(file)
        if file.stat().st_size != header.file_bytes:
            raise CheckpointError(
                f"{file} has {file.stat().st_size} bytes, but its header says "
                f"{header.file_bytes}. {_REMEDY}"
            )
        if (method := header.quantisation()) is not None:
            check_plain({"quantization": {"quant_method": method}} | config, str(folder))


def _what_it_is(folder: Path, config: dict[str, Any] | None) -> CheckpointError | None:
    """Return the error for a `folder` with other content, None if that is unknown."""
    if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
        hub_id = folder.name.removeprefix("models--").replace("--", "/")
        return CheckpointError(
            f"{folder} is the folder of {hub_id} in the hub cache. Use --model {hub_id}."
        )

    def read(name: str) -> dict[str, Any]:
        try:
            return read_json(folder / name)
        except CheckpointError:
            return {}

    names = [each for each in files_in(folder) if not each.startswith(".")]
    words = other_format(str(folder), names, config, read)
    return CheckpointError(words) if words else None


def check_config(folder: Path) -> dict[str, Any]:
    """Return the `config.json` of `folder`; raise CheckpointError if it is not of a SmolVLM."""
    if not folder.exists():
        raise CheckpointError(f"There is no folder {folder}. Check the path after --model.")
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is a file. Name the folder that holds {CONFIG_FILE} and the weights."
        )
    config = read_json(folder / CONFIG_FILE)
    check_architecture(config, str(folder / CONFIG_FILE))
    check_plain(config, str(folder))
    return config


def check_architecture(config: dict[str, Any], source: str) -> None:
    """Raise CheckpointError, which names `source`, if `config` is not of a SmolVLM."""
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
    """Raise CheckpointError if the tokenizer, image processor or chat template is missing."""
    read_json(folder / TOKENIZER_FILE)
    inside = [read_json(folder / TOKENIZER_CONFIG_FILE)]
    if not any("image_processor_type" in each for each in _image_processor_configs(folder)):
        raise _missing(folder, f"{OLDER_PROCESSOR_FILE} or {PROCESSOR_FILE}")
    templates = (CHAT_TEMPLATE_FILE, OLDER_CHAT_TEMPLATE_FILE)
    if not any((folder / name).is_file() for name in templates):
        if (folder / PROCESSOR_FILE).is_file():
            inside.append(read_json(folder / PROCESSOR_FILE))
        if not any(each.get("chat_template") for each in inside):
            raise _missing(folder, " or ".join(templates))


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of `folder`; raise CheckpointError if one is missing."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / WEIGHTS_INDEX_FILE).is_file():
        raise _missing(folder, WEIGHTS_FILE)
    files = [folder / name for name in shard_names(folder)]
    for file in files:
        if not file.is_file():
            raise _missing(folder, file.name)
    return files


def shard_names(folder: Path) -> list[str]:
    """Return the names of the weight files that the index lists; raise CheckpointError if none."""
    weight_map = read_json(folder / WEIGHTS_INDEX_FILE).get("weight_map")
    names = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    if not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{folder / WEIGHTS_INDEX_FILE} lists no weights. {_REMEDY}")
    return sorted(names)


SMOLVLM: Final = CheckpointKind(
    PROCESSOR_FILES,
    check_architecture,
    check_folder,
    "Sightline runs SmolVLM with weights in safetensors files. Choose another --model.",
)


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in the weights of `folder` by name."""
    return {
        name: tuple(tensor["shape"])
        for file in weight_files(folder)
        for name, tensor in _read_header(file).tensors.items()
    }


def model_size(folder: Path) -> ModelSize:
    """Return the size of the model in `folder`, from its configuration and weight headers.

    Raises CheckpointError if one of them is missing, damaged or not of a SmolVLM.
    """
    counts = {name: math.prod(shape) for name, shape in tensor_shapes(folder).items()}
    text: Any = check_config(folder).get("text_config")
    try:
        # A configuration omits values that are the default of its text model, a Llama.
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
            f"{folder / CONFIG_FILE} does not give the size of its text model. {_REMEDY}"
        ) from None


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`; raise CheckpointError if it is missing or damaged."""
    try:
        content = file.read_bytes()
        check_head(file, content[:_HEAD_BYTES])
        value = json.loads(content.decode())
    except FileNotFoundError:
        raise _missing(file.parent, file.name) from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise CheckpointError(f"{file} is damaged: not JSON. {_REMEDY}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} is damaged: not a JSON object. {_REMEDY}")
    return value


def _missing(folder: Path, name: str) -> IncompleteError:
    if (folder / name).is_symlink():
        return IncompleteError(f"{folder / name} is a link that leads nowhere. {_REMEDY}")
    return IncompleteError(f"The checkpoint {folder} is incomplete: {name} is missing. {_REMEDY}")


def _image_processor_configs(folder: Path) -> list[dict[str, Any]]:
    names = (OLDER_PROCESSOR_FILE, PROCESSOR_FILE)
    configs = [read_json(folder / name) for name in names if (folder / name).is_file()]
    return configs + [each.get("image_processor") or {} for each in configs]


class _Header(NamedTuple):
    """The header of a safetensors file: https://huggingface.co/docs/safetensors"""

    tensors: dict[str, Any]
    metadata: dict[str, Any]
    file_bytes: int
    """The size that the file must have."""

    def quantisation(self) -> str | None:
        """Return by what the weights are quantised or rearranged, None if they are plain."""
        if self.metadata.get("format") == "mlx":
            return "MLX"
        for name, tensor in self.tensors.items():
            if tensor["dtype"] not in _PLAIN_DTYPES and name.endswith(_WEIGHT_NAMES):
                return f"a method with numbers of type {tensor['dtype']}"
        return None


def _read_header(file: Path) -> _Header:
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
        check_head(file, head)
        header_size = int.from_bytes(head[:8], "little")
        # In other kinds of file the length may be petabytes.
        opened.seek(8)
        header = opened.read(header_size) if header_size < file.stat().st_size else b""
    try:
        # The header is 8 bytes of its length, itself, and the tensors.
        tensors = json.loads(header)
        metadata = tensors.pop("__metadata__", None) or {}
        ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
        shaped = all(isinstance(each["dtype"], str) for each in tensors.values())
        if shaped and isinstance(metadata, dict):
            return _Header(tensors, metadata, 8 + header_size + max(ends, default=0))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        pass
    raise CheckpointError(f"{file} is damaged: not a safetensors file. {_REMEDY}")
