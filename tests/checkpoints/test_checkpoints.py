"""Laws of checkpoints: what is whole loads, what is not is refused by name before it is loaded."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image
from transformers import LlamaConfig

from checkpoint_copy import copy_checkpoint
from tools.random_checkpoint import main as random_main
from tools.random_checkpoint import make_random
from vlm.checkpoints.catalogue import known_model, resolve
from vlm.checkpoints.files import ModelSize, model_size
from vlm.engine.engine import Engine
from vlm.errors import CheckpointError, SettingsError
from vlm.models.loading import load_engine
from vlm.processing.tokenizer import Tokenizer, stop_ids
from vlm.results import Result
from vlm.runtimes.torch.eager import load_model
from vlm.settings import Settings
from vlm.types import Request

PUBLISHED_BYTES = 513_028_808


def edited(file: Path, **changes: object) -> str:
    return json.dumps(json.loads(file.read_text()) | changes)


def caption(engine: Engine, image: Image.Image) -> str:
    items = list(engine.stream(Request.about(image, "What is this?", max_tokens=12)))
    assert isinstance(items[-1], Result)
    return items[-1].text


def load(folder: Path) -> Engine:
    # By torch, since OpenVINO would convert each of these folders anew.
    settings = Settings(model=str(folder), device="cpu", runtime="torch", dtype="float32")
    return load_engine(settings)


def test_the_bundled_model_is_whole(nano_dir: Path) -> None:
    assert resolve("nano") == nano_dir
    assert resolve(str(nano_dir)) == nano_dir


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_missing_file_is_named(nano_dir: Path, tmp_path: Path, name: str) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "part", {name: None})
    with pytest.raises(CheckpointError, match=f"incomplete: {name} is missing"):
        resolve(str(folder))


def test_a_missing_image_processor_is_named(nano_dir: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "part", {"processor_config.json": None})
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json .* is missing"):
        resolve(str(folder))


def test_a_missing_chat_template_is_named(nano_dir: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "part", {"chat_template.jinja": None})
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja .* is missing"):
        resolve(str(folder))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*nowhere"):
        resolve(str(tmp_path / "nowhere"))


def test_a_file_is_no_folder(nano_dir: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        resolve(str(nano_dir / "model.safetensors"))


@pytest.mark.parametrize("model_type", ["llama", "qwen2_vl", None, 7])
def test_another_architecture_is_named(nano_dir: Path, tmp_path: Path, model_type: object) -> None:
    config = edited(nano_dir / "config.json", model_type=model_type)
    folder = copy_checkpoint(nano_dir, tmp_path / "other", {"config.json": config})
    with pytest.raises(CheckpointError, match=f"{model_type!r}.* idefics3 and smolvlm"):
        resolve(str(folder))


def test_another_class_of_the_same_type_is_named(nano_dir: Path, tmp_path: Path) -> None:
    config = edited(nano_dir / "config.json", architectures=["Idefics3Model"])
    folder = copy_checkpoint(nano_dir, tmp_path / "other", {"config.json": config})
    with pytest.raises(CheckpointError, match=r"Idefics3Model.*Idefics3ForConditionalGeneration"):
        resolve(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "", "\udcff"])
def test_a_damaged_file_is_named(nano_dir: Path, tmp_path: Path, name: str, content: str) -> None:
    damaged = content.encode("utf-8", "surrogateescape")
    folder = copy_checkpoint(nano_dir, tmp_path / "damaged", {name: damaged})
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        resolve(str(folder))


@pytest.mark.parametrize("kept", [0, 5, 100, 20_000, -1])
def test_weights_cut_short_are_named(nano_dir: Path, tmp_path: Path, kept: int) -> None:
    whole = (nano_dir / "model.safetensors").read_bytes()
    folder = copy_checkpoint(nano_dir, tmp_path / "cut", {"model.safetensors": whole[:kept]})
    with pytest.raises(CheckpointError, match=r"model\.safetensors (is damaged|has \d+ bytes)"):
        resolve(str(folder))


@pytest.mark.parametrize("content", [b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"PK\x03\x04" * 9])
def test_weights_that_are_none_are_named(nano_dir: Path, tmp_path: Path, content: bytes) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "none", {"model.safetensors": content})
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        resolve(str(folder))


def test_pickled_weights_are_never_read(nano_dir: Path, tmp_path: Path) -> None:
    changed = {"model.safetensors": None, "pytorch_model.bin": b"\x80\x04."}
    folder = copy_checkpoint(nano_dir, tmp_path / "pickled", changed)
    with pytest.raises(CheckpointError, match="could run code"):
        resolve(str(folder))


def test_code_in_a_checkpoint_is_never_run(nano_dir: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w').close()\n"
    processor = json.loads((nano_dir / "processor_config.json").read_text())
    processor["auto_map"] = {"AutoProcessor": "evil.Evil"}
    processor["image_processor"]["auto_map"] = {"AutoImageProcessor": "evil.Evil"}
    changed = {
        "evil.py": code,
        "processor_config.json": json.dumps(processor),
        "config.json": edited(
            nano_dir / "config.json",
            auto_map={"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"},
        ),
        "tokenizer_config.json": edited(
            nano_dir / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.Evil"]}
        ),
    }
    folder = copy_checkpoint(nano_dir, tmp_path / "evil", changed)
    # Refused or loaded by our own classes, either is well.
    with contextlib.suppress(CheckpointError):
        load(folder)
    assert not mark.exists()


def sharded(source: Path, folder: Path) -> Path:
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    copy_checkpoint(source, folder, {"model.safetensors": None})
    weight_map = {}
    for file, inside in shards.items():
        part = {name: tensors[name] for name in inside}
        safetensors.torch.save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(inside, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_weights_in_shards_load_alike(
    nano_dir: Path, tmp_path: Path, engine: Engine, frames: list[Image.Image]
) -> None:
    folder = sharded(nano_dir, tmp_path / "shards")
    assert model_size(folder).parameters == model_size(nano_dir).parameters
    assert caption(load(folder), frames[0]) == caption(engine, frames[0])


def test_a_missing_shard_is_named(nano_dir: Path, tmp_path: Path) -> None:
    folder = sharded(nano_dir, tmp_path / "shards")
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-2\.safetensors is missing"):
        resolve(str(folder))


def with_tensors(nano_dir: Path, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    copy_checkpoint(nano_dir, folder, {"model.safetensors": None})
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("fault", ["missing", "of another shape"])
def test_weights_that_do_not_fit_are_refused(nano_dir: Path, tmp_path: Path, fault: str) -> None:
    tensors = safetensors.torch.load_file(nano_dir / "model.safetensors")
    name = "model.connector.modality_projection.proj.weight"
    if fault == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name][:-1].clone()
    folder = with_tensors(nano_dir, tmp_path / "odd", tensors)
    with pytest.raises(CheckpointError, match="modality_projection"):
        load_model(folder, torch.float32, "cpu")


def test_a_processor_of_another_model_is_refused(nano_dir: Path, tmp_path: Path) -> None:
    changed = edited(nano_dir / "processor_config.json", image_seq_len=49)
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", {"processor_config.json": changed})
    with pytest.raises(CheckpointError, match="do not fit each other"):
        load(folder)


def test_a_template_without_image_is_refused(nano_dir: Path, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['content'][1]['text'] }}{% endfor %}"
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", {"chat_template.jinja": template})
    with pytest.raises(CheckpointError, match="chat template"):
        load(folder)


def test_both_model_classes_caption_alike(
    nano_dir: Path, tmp_path: Path, engine: Engine, frames: list[Image.Image]
) -> None:
    processor = json.loads((nano_dir / "processor_config.json").read_text())
    processor["processor_class"] = "SmolVLMProcessor"
    processor["image_processor"]["image_processor_type"] = "SmolVLMImageProcessor"
    config = json.loads((nano_dir / "config.json").read_text())
    config |= {"model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"]}
    config["vision_config"]["model_type"] = "smolvlm_vision"
    changed = {"processor_config.json": json.dumps(processor), "config.json": json.dumps(config)}
    other = load(copy_checkpoint(nano_dir, tmp_path / "smolvlm", changed))
    assert other.info.model == "smolvlm"
    assert caption(other, frames[1]) == caption(engine, frames[1])


def test_every_id_that_ends_an_answer_is_known(nano_dir: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(nano_dir)
    end = tokenizer.id_of("<end_of_utterance>")
    assert end in stop_ids(nano_dir, tokenizer)
    changed = edited(nano_dir / "generation_config.json", eos_token_id=[2, 77])
    folder = copy_checkpoint(nano_dir, tmp_path / "list", {"generation_config.json": changed})
    assert stop_ids(folder, tokenizer) >= {2, 77, end}
    folder = copy_checkpoint(nano_dir, tmp_path / "none", {"generation_config.json": None})
    assert end in stop_ids(folder, tokenizer)


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_an_absent_device_is_refused_with_the_choices(device: str) -> None:
    with pytest.raises(SettingsError, match=f"{device}.*not available here.*auto.*cpu"):
        load_engine(Settings(model="nano", device=device))


def test_the_exact_shape_is_the_published_one(exact_shape_dir: Path) -> None:
    assert (exact_shape_dir / "model.safetensors").stat().st_size == PUBLISHED_BYTES
    assert resolve(str(exact_shape_dir)) == exact_shape_dir
    known = known_model("smolvlm-256m")
    assert known is not None
    assert model_size(exact_shape_dir) == known.size


def test_the_size_of_a_model_is_read_without_loading_it(nano_dir: Path) -> None:
    model = load_model(nano_dir, torch.float32, "cpu")
    text = model.config.text_config
    assert model_size(nano_dir) == ModelSize(
        parameters=sum(each.numel() for each in model.parameters()),
        vision_parameters=sum(
            each.numel()
            for part in (model.model.vision_model, model.model.connector)
            for each in part.parameters()
        ),
        embedding_parameters=model.get_input_embeddings().weight.numel(),
        layers=text.num_hidden_layers,
        kv_heads=text.num_key_value_heads,
        head_dim=text.head_dim,
        context_tokens=text.max_position_embeddings,
    )


def test_what_a_configuration_leaves_out_is_the_text_models_default(
    nano_dir: Path, tmp_path: Path
) -> None:
    changed = edited(nano_dir / "config.json", text_config={"hidden_size": 2048})
    size = model_size(copy_checkpoint(nano_dir, tmp_path / "terse", {"config.json": changed}))
    default = LlamaConfig(hidden_size=2048)
    assert (size.layers, size.kv_heads, size.head_dim, size.context_tokens) == (
        default.num_hidden_layers,
        default.num_key_value_heads,
        default.head_dim,
        default.max_position_embeddings,
    )


@pytest.mark.parametrize("text", [None, [], {}, {"hidden_size": "wide"}])
def test_a_configuration_without_a_text_model_is_named(
    nano_dir: Path, tmp_path: Path, text: object
) -> None:
    changed = edited(nano_dir / "config.json", text_config=text)
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", {"config.json": changed})
    with pytest.raises(CheckpointError, match="size of its text model"):
        model_size(folder)


def test_random_weights_follow_their_seed(nano_dir: Path, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_random(nano_dir, tmp_path / name, seed)
        made[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert made["a"] == made["b"] != made["c"]
    assert model_size(tmp_path / "a").parameters == model_size(nano_dir).parameters
    load(tmp_path / "a")


def test_making_random_weights_leaves_the_callers_chance_alone(
    nano_dir: Path, tmp_path: Path
) -> None:
    before = torch.random.get_rng_state()
    make_random(nano_dir, tmp_path / "made")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_command_says_what_it_made(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "made"
    assert random_main([str(nano_dir), str(out), "--seed", "3"]) == 0
    assert str((out / "model.safetensors").stat().st_size) in capsys.readouterr().out
    assert [file.name for file in out.parent.iterdir()] == ["made"]


def test_the_command_never_overwrites(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("dear to me")
    assert random_main([str(nano_dir), str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_names_what_its_source_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert random_main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(
    nano_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill(tensors: dict[str, Any], file: Path, **_: object) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(safetensors.torch, "save_file", fill)
    assert random_main([str(nano_dir), str(tmp_path / "out")]) == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
