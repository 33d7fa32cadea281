"""The runtime of a model: the one in the settings, else the best one, or its fallback."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vlm.engine.engine import Engine
from vlm.errors import CheckpointError, SettingsError
from vlm.models.loading import load_engine
from vlm.results import Result
from vlm.runtimes.load import load_runtime
from vlm.runtimes.openvino import runtime as openvino_runtime
from vlm.settings import Settings
from vlm.types import Request

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What is this?"


def text_of(engine: Engine, image: Image.Image) -> str:
    *_, done = engine.stream(Request.about(image, QUESTION, 12))
    assert isinstance(done, Result)
    return done.text


def test_openvino_runs_on_a_cpu_and_answers_as_torch_does(
    engine: Engine, frames: list[Image.Image]
) -> None:
    chosen = load_engine(Settings(model="nano", device="cpu"))
    assert (chosen.info.runtime, chosen.info.device) == ("openvino", "cpu")
    for frame in frames[:5]:
        assert text_of(chosen, frame) == text_of(engine, frame)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(runtime="torch", dtype="int8"), "auto, float32, bfloat16 or float16"),
        (Settings(runtime="torch", dtype="int4"), "int4 is for OpenVINO. With --runtime torch"),
        (Settings(runtime="openvino", device="cuda"), "--device is cuda"),
        (Settings(runtime="openvino", dtype="float16"), "auto, float32, bfloat16, int8, int4"),
    ],
)
def test_unsupported_dtype_or_device_is_refused_by_name(
    nano_dir: Path, settings: Settings, named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        load_runtime(nano_dir, settings, print)


def test_torch_runs_float16(nano_dir: Path) -> None:
    runtime = load_runtime(nano_dir, Settings(device="cpu", dtype="float16"), print)
    assert (runtime.name, runtime.dtype) == ("torch", "float16")


@pytest.mark.parametrize(("dtype", "used_dtype"), [("int4", "float32"), ("bfloat16", "bfloat16")])
def test_torch_is_the_fallback_if_openvino_fails(
    nano_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    dtype: str,
    used_dtype: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise openvino_runtime.OpenVinoUnavailableError("OpenVINO cannot be loaded: not installed.")

    monkeypatch.setattr(openvino_runtime.OpenVinoRuntime, "load", fail)
    with caplog.at_level(logging.WARNING, "sightline"):
        runtime = load_runtime(nano_dir, Settings(runtime="openvino", dtype=dtype), print)
    assert (runtime.name, runtime.dtype) == ("torch", used_dtype)
    (record,) = caplog.records
    assert "Torch takes over" in record.message
    assert "not installed" in record.message


def test_torch_is_the_fallback_without_openvino(
    nano_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING, "sightline"):
        runtime = load_runtime(nano_dir, Settings(device="cpu"), print)
    assert (runtime.name, runtime.device) == ("torch", "cpu")
    (record,) = caplog.records
    assert "OpenVINO cannot be loaded" in record.message


def test_broken_checkpoint_has_no_fallback(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_runtime(tmp_path, Settings(device="cpu"), print)


def test_engine_from_the_cache_imports_no_torch(nano_dir: Path) -> None:
    code = (
        "import sys; from vlm.models.loading import load_engine\n"
        "from vlm.settings import Settings\n"
        "engine = load_engine(Settings(model='nano', device='cpu'))\n"
        "heavy = {'torch', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "sys.exit(f'{engine.info.runtime} imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
