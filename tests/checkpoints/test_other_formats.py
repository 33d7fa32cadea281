"""Folders and repositories that are no checkpoint: what each is, and what to do with it."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fetcher import Fetcher

from checkpoint_copy import copy_checkpoint
from vlm.checkpoints.catalogue import resolve
from vlm.checkpoints.files import CONFIG_FILE, WEIGHTS_FILE
from vlm.errors import CheckpointError, SettingsError
from vlm.settings import Settings

ORIGINAL = "someone/the-original"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 513028808\n"
NOT_WHOLE = ("tokenizer.json", "tokenizer_config.json", "processor_config.json")

Changed = Mapping[str, str | bytes | None]


def of(config: Mapping[str, Any]) -> str:
    """Return the bundled config.json with these fields more."""
    return json.dumps({"model_type": "idefics3"} | dict(config))


def weights(dtype: str = "F32", name: str = "model.x.weight", **metadata: str) -> bytes:
    """Return a safetensors file with one tensor of one number."""
    size = {"F32": 4, "U8": 1, "I32": 4, "F8_E4M3": 1}[dtype]
    tensor = {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}
    header = json.dumps({name: tensor} | ({"__metadata__": metadata} if metadata else {})).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


# Files in place of those of the bundled checkpoint (None: left out), and words of the message.
FOLDERS: dict[str, tuple[Changed, str]] = {
    "git-LFS weights": ({WEIGHTS_FILE: POINTER}, "is a pointer of git-LFS.*git lfs pull"),
    "git-LFS tokenizer": ({"tokenizer.json": POINTER}, "tokenizer.json is a pointer of git-LFS"),
    "git-LFS configuration": ({CONFIG_FILE: POINTER}, "config.json is a pointer of git-LFS"),
    "git-annex weights": (
        {WEIGHTS_FILE: "/annex/objects/SHA256E-s5--4d.safetensors\n"},
        "is a pointer of git-annex.*git annex get",
    ),
    "web page as weights": ({WEIGHTS_FILE: "<!doctype html><html>"}, "is a web page.*/resolve/"),
    "web page as tokenizer": ({"tokenizer.json": "\n<HTML lang=en>"}, "is a web page.*/resolve/"),
    "trainer's checkpoint": (
        dict.fromkeys(NOT_WHOLE) | {"trainer_state.json": "{}", "optimizer.pt": b"\x80"},
        "model without its processor, as a trainer saves it. Copy tokenizer.json",
    ),
    "trainer's checkpoint with tokenizer": (
        {"processor_config.json": None, "training_args.bin": b"\x80"},
        "model without its processor, as a trainer saves it",
    ),
    "model alone": (dict.fromkeys(NOT_WHOLE), "holds a model without its processor. Copy tok"),
    "bitsandbytes": (
        {CONFIG_FILE: of({"quantization_config": {"load_in_4bit": True}})},
        "quantised by bitsandbytes, which Sightline does not read",
    ),
    "bitsandbytes by name": (
        {CONFIG_FILE: of({"quantization_config": {"quant_method": "bitsandbytes"}})},
        "quantised by bitsandbytes",
    ),
    "torchao": (
        {CONFIG_FILE: of({"quantization_config": {"quant_method": "torchao"}})},
        "quantised by torchao",
    ),
    "GPTQ": (
        {CONFIG_FILE: of({"quantization_config": {"quant_method": "gptq", "bits": 4}})},
        "by GPTQ",
    ),
    "AWQ": ({CONFIG_FILE: of({"quantization_config": {"quant_method": "awq"}})}, "by AWQ"),
    "compressed-tensors": (
        {CONFIG_FILE: of({"compression_config": {"quant_method": "compressed-tensors"}})},
        "by compressed-tensors",
    ),
    "FP8": ({CONFIG_FILE: of({"quantization_config": {"quant_method": "fp8"}})}, "by FP8"),
    "FP8 by dtype": ({CONFIG_FILE: of({"dtype": "float8_e4m3fn"})}, "by FP8"),
    "quantised text model": (
        {CONFIG_FILE: of({"text_config": {"quantization_config": {"quant_method": "hqq"}}})},
        "by HQQ",
    ),
    "MLX": ({CONFIG_FILE: of({"quantization": {"group_size": 64, "bits": 4}})}, "by MLX"),
    "a method of tomorrow": (
        {CONFIG_FILE: of({"quantization_config": {"quant_method": "superquant-2"}})},
        "by superquant-2",
    ),
    "quantised without a name": (
        {CONFIG_FILE: of({"quantization_config": {"x": 1}})},
        "an unknown method",
    ),
    "quantised, original named": (
        {
            CONFIG_FILE: of(
                {"quantization_config": {"quant_method": "awq"}, "_name_or_path": ORIGINAL}
            )
        },
        f"Choose the original model instead: --model {ORIGINAL}",
    ),
    "MLX without quantisation": ({WEIGHTS_FILE: weights(format="mlx")}, "quantised by MLX"),
    "packed numbers": ({WEIGHTS_FILE: weights("U8")}, "with numbers of type U8"),
    "packed numbers of GPTQ": (
        {WEIGHTS_FILE: weights("I32", "x.qweight")},
        "with numbers of type I32",
    ),
    "numbers of 8 bits": ({WEIGHTS_FILE: weights("F8_E4M3")}, "with numbers of type F8_E4M3"),
    "another architecture": (
        {CONFIG_FILE: '{"model_type": "llava"}'},
        "type 'llava'.*Choose another",
    ),
    "link that leads nowhere": (
        {WEIGHTS_FILE: None, "->": WEIGHTS_FILE},
        "is a link that leads nowhere",
    ),
    "pickled": (
        {WEIGHTS_FILE: None, "pytorch_model.bin": b"\x80"},
        "holds pickled weights .pytorch_model.bin., .*could run code.*save_pretrained",
    ),
    "another name": (
        {WEIGHTS_FILE: None, "model.fp16.safetensors": weights()},
        r"holds model.fp16.safetensors, but no model.safetensors. Rename",
    ),
    "unfinished download": (
        {WEIGHTS_FILE: None, "model.safetensors.crdownload": b"x"},
        "unfinished download .model.safetensors.crdownload.",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_changed_checkpoint_says_what_it_is(nano_dir: Path, tmp_path: Path, name: str) -> None:
    changed, words = FOLDERS[name]
    link = changed.get("->")
    folder = copy_checkpoint(
        nano_dir, tmp_path / "folder", {each: changed[each] for each in changed if each != "->"}
    )
    if isinstance(link, str):
        (folder / link).symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError) as raised:
        resolve(str(folder))
    assert re.search(words, str(raised.value))
    assert str(raised.value).startswith(str(folder))


# Folders without the files of a checkpoint.
STRANGERS: dict[str, tuple[Changed, str]] = {
    "LoRA adapter": (
        {
            "adapter_config.json": json.dumps(
                {"peft_type": "LORA", "base_model_name_or_path": ORIGINAL}
            ),
            "adapter_model.safetensors": weights(),
            "tokenizer.json": "{}",
        },
        f"is an adapter .LoRA. of {ORIGINAL}, not a whole model. Merge it.*merge_and_unload",
    ),
    "adapter of a folder": (
        {"adapter_config.json": '{"base_model_name_or_path": "/home/me/secret/base"}'},
        "is an adapter .LoRA. of base, not a whole model",
    ),
    "another adapter": (
        {"adapter_config.json": '{"peft_type": "IA3"}'},
        "is an adapter .IA3., not",
    ),
    "damaged adapter": ({"adapter_config.json": "{"}, "is an adapter .LoRA., not a whole model"),
    "GGUF": (
        {"SmolVLM-Q8_0.gguf": b"GGUF", "mmproj-SmolVLM.GGUF": b"GGUF"},
        "holds GGUF weights.*Serve SmolVLM-Q8_0.gguf there.*--engine openai",
    ),
    "GGUF beside a configuration": ({CONFIG_FILE: of({}), "a.gguf": b"GGUF"}, "holds GGUF weights"),
    "ONNX": (
        {
            CONFIG_FILE: of({"_name_or_path": ORIGINAL}),
            "tokenizer.json": "{}",
            "onnx/vision_encoder.onnx": b"x",
        },
        f"holds ONNX weights, as transformers.js.*Choose the original model .{ORIGINAL}. instead",
    ),
    "OpenVINO": ({"openvino_language_model.xml": "<net/>"}, "conversion for OpenVINO"),
    "Core ML": ({"model.mlpackage/Manifest.json": "{}"}, "weights for MLX or Core ML"),
    "older MLX": ({"weights.npz": b"PK"}, "weights for MLX or Core ML"),
    "TensorFlow": ({CONFIG_FILE: of({}), "tf_model.h5": b"x"}, "weights for TensorFlow or JAX"),
    "TensorRT": ({"model.engine": b"x"}, "holds a compiled model .model.engine."),
    "DeepSpeed": (
        {"zero_to_fp32.py": "", "global_step9/mp_rank_00_model_states.pt": b"x"},
        "is a DeepSpeed checkpoint.*zero_to_fp32.py",
    ),
    "FSDP": ({"pytorch_model_fsdp_0/__0_0.distcp": b"x"}, "accelerate merge-weights"),
    "diffusers": ({"model_index.json": "{}", "unet/x.bin": b"x"}, "is a pipeline of diffusers"),
    "authors' code": ({"params.json": "{}", "consolidated.00.pth": b"x"}, "authors' own code"),
    "trainer's folder": (
        {f"checkpoint-{step}/{CONFIG_FILE}": of({}) for step in (9, 500, 20)},
        "holds other folders with a model. Name one of them, such as checkpoint-500",
    ),
    "folder above": (
        {f"smolvlm/{CONFIG_FILE}": of({}), f"smolvlm/{WEIGHTS_FILE}": weights()},
        "holds other folders with a model. Name one of them, such as smolvlm",
    ),
    "archive": ({"smolvlm.zip": b"PK"}, "holds an archive .smolvlm.zip.. Unpack it"),
    "empty": ({}, "is empty. Download the checkpoint into it"),
    "something else": ({"notes.txt": "x"}, "is incomplete: config.json is missing"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_strange_folder_says_what_it_is(tmp_path: Path, name: str) -> None:
    files, words = STRANGERS[name]
    # Braces are nothing special in the name of a folder.
    folder = tmp_path / "{odd} name"
    folder.mkdir()
    for each, content in files.items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        assert content is not None
        (folder / each).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CheckpointError) as raised:
        resolve(str(folder))
    message = str(raised.value)
    assert re.search(words, message)
    assert str(folder) in message
    assert "secret" not in message


def test_a_folder_of_the_hub_cache_is_named_by_its_id(tmp_path: Path) -> None:
    folder = tmp_path / "models--someone--tiny-vlm"
    (folder / "snapshots").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="Use --model someone/tiny-vlm"):
        resolve(str(folder))


# -- repositories --


@pytest.mark.parametrize(
    "name", [each for each, (files, _) in FOLDERS.items() if set(files) == {CONFIG_FILE}]
)
def test_a_repository_is_refused_by_its_configuration_before_its_weights(
    fetcher: Fetcher, repository: Path, name: str
) -> None:
    changed, words = FOLDERS[name]
    config = changed[CONFIG_FILE]
    assert isinstance(config, str)
    (repository / CONFIG_FILE).write_text(config)
    with pytest.raises(CheckpointError) as raised:
        fetcher()
    assert re.search(words, str(raised.value))
    assert str(fetcher.cache) not in str(raised.value)
    assert fetcher.requested_files() == [CONFIG_FILE]


@pytest.mark.parametrize(
    ("about", "removed", "added", "words"),
    [
        ({"library_name": "mlx"}, (), (), "quantised by MLX"),
        (
            {"library_name": "mlx", "cardData": {"base_model": ORIGINAL}},
            (),
            (),
            f"Choose the original model instead: --model {ORIGINAL}",
        ),
        (
            {},
            (CONFIG_FILE, WEIGHTS_FILE, "pytorch_model.bin"),
            ("a.Q4.gguf",),
            "holds GGUF weights",
        ),
        (
            {"cardData": {"base_model": [ORIGINAL]}},
            (CONFIG_FILE, WEIGHTS_FILE, "pytorch_model.bin"),
            ("adapter_config.json",),
            f"is an adapter .LoRA. of {ORIGINAL}",
        ),
        (
            {"cardData": {"base_model": ORIGINAL}},
            (WEIGHTS_FILE, "pytorch_model.bin", "adapter.safetensors"),
            ("onnx/decoder.onnx",),
            f"holds ONNX weights.*the original model .{ORIGINAL}.",
        ),
    ],
)
def test_a_repository_is_described_by_what_the_hub_lists(
    fetcher: Fetcher,
    repository: Path,
    about: dict[str, object],
    removed: tuple[str, ...],
    added: tuple[str, ...],
    words: str,
) -> None:
    for each in removed:
        (repository / each).unlink()
    for each in added:
        (repository / each).write_bytes(b"x")
    fetcher.hub.about = about
    with pytest.raises(CheckpointError) as raised:
        fetcher()
    assert re.search(words, str(raised.value))
    assert set(fetcher.requested_files()) <= {CONFIG_FILE}


# -- addresses --

ID = "HuggingFaceTB/SmolVLM-Base"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (f"https://huggingface.co/{ID}", ID),
        (f"http://www.huggingface.co/{ID}/", ID),
        (f"  https://hf.co/{ID}?library=transformers#files ", ID),
        (f"huggingface.co/{ID}/tree/main", ID),
        (f"https://huggingface.co/{ID}/blob/main/model.safetensors", ID),
        (f"https://huggingface.co/{ID}/resolve/main/config.json?download=true", ID),
        (f"https://huggingface.co/{ID}/discussions/7", ID),
        (f"https://huggingface.co/api/models/{ID}", ID),
        (f"https://huggingface.co/{ID}.git", ID),
        (f"git@hf.co:{ID}", ID),
        (f"hf://{ID}", ID),
        (f"https://hf-mirror.com/{ID}", ID),
        (f"https://hub.example.org:8443/{ID}", ID),
        ("HTTPS://HuggingFace.co/HuggingFaceTB/SmolVLM-256M-Instruct/tree/main", "smolvlm-256m"),
    ],
)
def test_the_address_of_a_page_is_taken_as_its_id(
    monkeypatch: pytest.MonkeyPatch, text: str, model: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org:8443")
    assert Settings.from_args(["--model", text], {}).model == model


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://huggingface.co/datasets/someone/pictures", "is the page of a data set"),
        ("https://huggingface.co/spaces/someone/demo", "is the page of a space"),
        ("https://huggingface.co/collections/someone/all-7", "is the page of a collection"),
        ("https://huggingface.co/HuggingFaceTB", "names no model"),
        ("https://huggingface.co", "names no model"),
        ("https://github.com/someone/repository", "outside of the hub"),
        ("https://ollama.com/library/llava", "outside of the hub"),
        ("https://[::1", "is not an address of a model"),
        (f"https://huggingface.co/{ID}/tree/v2", f"revision v2.*--model {ID}"),
    ],
)
def test_another_address_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_args([], {"SIGHTLINE_MODEL": text})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SmolVLM.gguf", "holds GGUF weights"),
        ("model.onnx", "holds ONNX weights"),
        ("smolvlm.tar.gz", "holds an archive"),
        ("pytorch_model.bin", "holds pickled weights"),
        (WEIGHTS_FILE, "is a file. Name the folder that holds config.json and the weights"),
        (CONFIG_FILE, "is a file. Name the folder that holds config.json and the weights"),
    ],
)
def test_a_file_as_the_model_says_what_it_is(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SettingsError, match=f"--model: .*{words}"):
        Settings.from_args(["--model", str(tmp_path / name)], {})
