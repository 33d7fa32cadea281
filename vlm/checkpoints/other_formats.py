"""Recognise folders and repositories of other formats, and say what to do with them.

Standard library only. A judgement needs the names of the files, and few of their first bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from vlm.checkpoints.hub_cache import HUB_ID
from vlm.errors import CheckpointError

ADAPTER_CONFIG_FILE: Final = "adapter_config.json"
# How deep the files of a folder are listed: `onnx/model.onnx`, `checkpoint-500/config.json`.
_DEPTH: Final = 2
_MAX_LISTED: Final = 2000
_MAX_NAME_CHARS: Final = 60

_TRAINER_FILES: Final = ("trainer_state.json", "training_args.bin", "optimizer.*", "rng_state*.pth")
_PROCESSOR_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "*processor_config.json")
_UNFINISHED_FILES: Final = ("*.incomplete", "*.part", "*.crdownload", "*.download", "*.aria2")
_ARCHIVES: Final = ("*.zip", "*.tar", "*.tar.*", "*.tgz", "*.7z")
_PICKLED: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_PICKLED_WORDS: Final = (
    "holds pickled weights ({file}), which are not read: they could run code",
    "Convert them with transformers' `save_pretrained`, or choose {original}",
)
_ORIGINAL: Final = "Choose {original} instead"
# Patterns of files, what they are, and what to do; the first that matches counts. "{original}" is
# the model that it was made from, "{file}" the first file that matches.
_FORMATS: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    (("pytorch_model*.bin",), *_PICKLED_WORDS),
    (
        ("*.gguf", "*/*.gguf", "ggml-*.bin"),
        "holds GGUF weights, which llama.cpp and Ollama run",
        "Serve {file} there and start Sightline with --engine openai --base-url URL, or choose "
        "{original}",
    ),
    (
        ("*.onnx", "*/*.onnx", "*.onnx_data", "*/*.onnx_data"),
        "holds ONNX weights, as transformers.js runs them",
        _ORIGINAL,
    ),
    (
        ("openvino_*.xml", "*/openvino_*.xml"),
        "holds a conversion for OpenVINO that another program made",
        "Choose {original} instead: Sightline converts it itself",
    ),
    (
        ("*.npz", "*.mlpackage/*", "*/*.mlpackage", "*.mlmodel*"),
        "holds weights for MLX or Core ML",
        _ORIGINAL,
    ),
    (("*.tflite", "*.engine", "*.plan", "*.trt"), "holds a compiled model ({file})", _ORIGINAL),
    (("*.h5", "*.msgpack", "saved_model.pb"), "holds weights for TensorFlow or JAX", _ORIGINAL),
    (
        ("zero_to_fp32.py", "global_step*/*", "*/zero_to_fp32.py"),
        "is a DeepSpeed checkpoint, whose weights are in parts",
        "Join them with `python zero_to_fp32.py . whole --safe_serialization`, add the files of "
        "the processor, and name the folder `whole`",
    ),
    (
        ("*.distcp", "*/*.distcp"),
        "is a distributed checkpoint, whose weights are in parts",
        "Join them with `accelerate merge-weights`, add the files of the processor, and name that "
        "folder",
    ),
    (
        ("model_index.json",),
        "is a pipeline of diffusers",
        "Choose another --model",
    ),
    (
        ("consolidated.*", "params.json"),
        "holds weights in the form of their authors' own code",
        "Choose {original} in the form of transformers",
    ),
    (_PICKLED, *_PICKLED_WORDS),
    (
        ("*.safetensors",),
        "holds {file}, but no model.safetensors",
        "Rename that file if it holds the whole model, or download the whole checkpoint",
    ),
)


def files_in(folder: Path) -> list[str]:
    """Return the names of the files in `folder`, with "/" between, to a small depth."""

    def walk(place: Path, prefix: str, depth: int) -> Iterator[str]:
        try:
            entries = sorted(place.iterdir())
        except OSError:
            return
        for each in entries:
            if each.is_dir() and depth > 1:
                yield from walk(each, f"{prefix}{each.name}/", depth - 1)
            elif not each.is_dir():
                yield prefix + each.name

    found = []
    for name in walk(folder, "", _DEPTH):
        found.append(name)
        if len(found) == _MAX_LISTED:
            break
    return found


def other_format(
    source: str,
    names: Collection[str],
    config: Mapping[str, Any] | None = None,
    read: Callable[[str], Mapping[str, Any]] = lambda _: {},
    original: str | None = None,
) -> str | None:
    """Return what `source` is, which lacks a file of a checkpoint, in sentences; None if unknown.

    `names` are its files, `config` its config.json if it has one; `read` returns the JSON object of
    a small file. `original` is the model that it was made from, if that is known otherwise.
    """
    original = original or original_model(config or {})
    if ADAPTER_CONFIG_FILE in names:
        return _adapter(source, read(ADAPTER_CONFIG_FILE), original)
    if not names:
        return f"{source} is empty. Download the checkpoint into it, or name another folder."
    chosen = f"the original model ({original})" if original else "the model that it was made from"
    has_weights = _first(names, ("model.safetensors", "model.safetensors.index.json")) is not None
    if has_weights and config is None:
        return None
    if has_weights:
        return _without_processor(source, names, chosen)
    if (name := _first(names, _UNFINISHED_FILES)) is not None:
        return f"{source} holds an unfinished download ({name}). Finish it first."
    if (inside := _checkpoint_inside(names)) is not None:
        return f"{source} holds other folders with a model. Name one of them, such as {inside}."
    for patterns, is_what, cure in _FORMATS:
        if (name := _first(names, patterns)) is not None:
            return f"{source} " + f"{is_what}. {cure}.".format(original=chosen, file=name)
    if (name := _first(names, _ARCHIVES)) is not None:
        return f"{source} holds an archive ({name}). Unpack it first."
    return None


def original_model(config: Mapping[str, Any], hub_id: str | None = None) -> str | None:
    """Return the hub id of the model that `hub_id` was made from, if `config` names it."""
    for key in ("base_model", "base_model_name_or_path", "_name_or_path"):
        name = config.get(key)
        if isinstance(name, list) and name:
            name = name[0]
        is_id = isinstance(name, str) and HUB_ID.fullmatch(name) and len(name) <= _MAX_NAME_CHARS
        if is_id and name != hub_id:
            return str(name)
    return None


def check_plain(config: Mapping[str, Any], source: str, original: str | None = None) -> None:
    """Raise CheckpointError if `config`, a config.json, is of weights that are not plain numbers.

    `source` names the model; `original` the one that it was made from, if known otherwise.
    """
    method = quantisation(config)
    if method is None:
        return
    original = original or original_model(config, source)
    cure = (
        f"Choose the original model instead: --model {original}"
        if original
        else "Choose the model that it was made from"
    )
    raise CheckpointError(
        f"{source} has weights that are quantised by {method}, which Sightline does not read. "
        f"{cure}; --dtype int8 makes it smaller."
    )


def quantisation(config: Mapping[str, Any]) -> str | None:
    """Return the method by which the weights of `config` are quantised, None if they are plain."""
    parts = [config, *(each for each in config.values() if isinstance(each, dict))]
    for part in parts:
        # transformers' key, an older one of compressed-tensors, and MLX's own.
        for key in ("quantization_config", "compression_config", "quantization"):
            settings = part.get(key)
            if settings and settings is not part:
                return _method(settings)
        dtype = part.get("dtype") or part.get("torch_dtype")
        if isinstance(dtype, str) and "float8" in dtype:
            return "FP8"
    return None


def check_head(file: Path, head: bytes) -> None:
    """Raise CheckpointError if `head`, the first bytes of `file`, are not the content of any file.

    Tools leave pointers or web pages in the place of large files.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"version https://git-lfs", b"version https://hawser", b"# xet version")):
        raise CheckpointError(
            f"{file} is a pointer of git-LFS, not the file itself. Run `git lfs install` and `git "
            "lfs pull` in its folder."
        )
    if start.startswith((b"/annex/objects/", b"../.git/annex", b".git/annex")):
        raise CheckpointError(
            f"{file} is a pointer of git-annex, not the file itself. Run `git annex get` in its "
            "folder."
        )
    if start.startswith((b"<!doctype", b"<html")):
        raise CheckpointError(
            f"{file} is a web page, not the file itself. Download it again, by a link that "
            "contains /resolve/ instead of /blob/."
        )


def _adapter(source: str, config: Mapping[str, Any], original: str | None) -> str:
    kind = config.get("peft_type")
    kind = kind if isinstance(kind, str) and kind.isidentifier() else "LoRA"
    base = config.get("base_model_name_or_path")
    if isinstance(base, str) and base.isprintable() and base:
        # Of a path only the name.
        original = base if HUB_ID.fullmatch(base) else Path(base.replace("\\", "/")).name
    of = f" of {original}" if original else ""
    return (
        f"{source} is an adapter ({'LoRA' if kind == 'LORA' else kind}){of}, not a whole model. "
        "Merge it into that model with peft's `merge_and_unload`, save model and processor in one "
        "folder, and name that folder."
    )


def _without_processor(source: str, names: Collection[str], chosen: str) -> str | None:
    """Return that the model has no processor, None if more than the processor's files lack."""
    here = [_first(names, (each,)) is not None for each in _PROCESSOR_FILES]
    is_trainers = _first(names, _TRAINER_FILES) is not None
    if all(here) or (any(here) and not is_trainers):
        return None
    return (
        f"{source} holds a model without its processor"
        f"{', as a trainer saves it' if is_trainers else ''}. Copy tokenizer.json, "
        "tokenizer_config.json, preprocessor_config.json and the chat template into it, from "
        f"{chosen}."
    )


def _checkpoint_inside(names: Collection[str]) -> str | None:
    """Return the folder that holds a config.json one level deeper, the newest of a trainer's."""
    folders = [name.partition("/")[0] for name in names if name.endswith("/config.json")]
    steps = {
        int(found[1]): each
        for each in folders
        if (found := re.fullmatch(r"checkpoint-(\d+)", each))
    }
    if steps:
        return steps[max(steps)]
    has_weights = [
        each for each in folders if _first(names, (f"{each}/*.safetensors",)) is not None
    ]
    return has_weights[0] if has_weights else None


def _method(settings: object) -> str:
    """Return the name of the method in a quantization_config."""
    if not isinstance(settings, dict):
        return "an unknown method"
    method = settings.get("quant_method")
    if isinstance(method, str) and 0 < len(method) <= _MAX_NAME_CHARS and method.isprintable():
        is_short = method.isalnum() and len(method) <= len("GPTQ")
        return method.upper() if is_short else method
    if any("load_in_" in key for key in settings):
        return "bitsandbytes"
    return "MLX" if {"bits", "group_size"} <= settings.keys() else "an unknown method"


def _first(names: Collection[str], patterns: tuple[str, ...]) -> str | None:
    """Return the first of `names` that matches a pattern; "*" stands for no "/"."""

    def matches(name: str, pattern: str) -> bool:
        return name.count("/") == pattern.count("/") and fnmatchcase(name.lower(), pattern)

    return next((each for each in names if any(matches(each, it) for it in patterns)), None)
