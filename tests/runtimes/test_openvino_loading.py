"""Loading by OpenVINO: progress, imports, telemetry and errors of a start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoint_copy import copy_checkpoint
from vlm.errors import SettingsError
from vlm.runtimes.load import load_runtime
from vlm.runtimes.openvino.cache import is_complete
from vlm.runtimes.openvino.platform import (
    DTYPES,
    OpenVinoUnavailableError,
    choose_precision,
    precision_here,
)
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.settings import Settings

pytest.importorskip("openvino")

ROOT = Path(__file__).resolve().parents[2]
LARGE, SMALL = 250_000_000, 4_000_000
FLOAT32 = precision_here("float32", SMALL)


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for OpenVINO's telemetry package, which leaves a file if it is imported."""
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "openvino_telemetry.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\nraise ImportError\n"
    )
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openvino") / "cache"


@pytest.fixture(scope="module")
def progress(nano_dir: Path, cache: Path, telemetry: Path) -> list[str]:
    """The progress of the first start; afterwards the cache holds the bundled model."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(telemetry))
        patch.setenv("SIGHTLINE_CACHE", str(cache))
        load_runtime(nano_dir, Settings(device="cpu", dtype="float32"), lines.append)
    return lines


def test_first_start_reports_the_steps_of_the_conversion(progress: list[str], cache: Path) -> None:
    start = "Converting the model for OpenVINO, once: "
    steps = ("loading the checkpoint", "vision encoder", "text model")
    assert progress == [start + step for step in steps]
    (entry,) = (folder for folder in cache.iterdir() if folder.is_dir())
    assert is_complete(entry)


@pytest.mark.usefixtures("progress")
def test_conversion_sends_no_telemetry(telemetry: Path) -> None:
    assert not (telemetry / "imported").exists()
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            [sys.executable, "-c", "import openvino_telemetry"],
            env={**os.environ, "PYTHONPATH": str(telemetry)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
    assert (telemetry / "imported").exists()


@pytest.mark.usefixtures("progress")
def test_start_from_the_cache_sends_no_telemetry_and_imports_no_torch(
    nano_dir: Path, cache: Path, telemetry: Path
) -> None:
    (telemetry / "imported").unlink(missing_ok=True)
    code = (
        "import sys, pathlib, numpy\n"
        "from vlm.runtimes.openvino.platform import precision_here\n"
        "from vlm.runtimes.openvino.runtime import OpenVinoRuntime\n"
        "folder, cache = map(pathlib.Path, sys.argv[1:])\n"
        "runtime = OpenVinoRuntime.load(\n"
        "    folder, precision_here('float32', 0), sys.exit, cache_folder=cache)\n"
        "features = runtime.encode_image(numpy.zeros((1, 3, 192, 192), numpy.float32))\n"
        "ids = [1, *[4] * len(features), 5]\n"
        "state, predicted = runtime.prefill(ids, [features])\n"
        "runtime.decode(state, predicted.ids[-1])\n"
        "heavy = {'torch', 'transformers', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    command = [sys.executable, "-c", code, str(nano_dir), str(cache)]
    env = {**os.environ, "PYTHONPATH": str(telemetry)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (telemetry / "imported").exists()


def test_converter_ends_with_its_standard_input(nano_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vlm.runtimes.openvino.convert", str(nano_dir), str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_failed_conversion_raises_one_line(nano_dir: Path, tmp_path: Path) -> None:
    config = (
        (nano_dir / "config.json").read_text().replace('"hidden_size": 192', '"hidden_size": 96')
    )
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", {"config.json": config})
    with pytest.raises(OpenVinoUnavailableError, match="do not fit its config") as caught:
        OpenVinoRuntime.load(folder, FLOAT32, print, cache_folder=tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_missing_openvino_raises_unavailable(
    nano_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OpenVinoUnavailableError, match="cannot be loaded"):
        OpenVinoRuntime.load(nano_dir, FLOAT32, print, cache_folder=tmp_path)


@pytest.mark.usefixtures("progress")
def test_failed_allocation_of_openvino_raises_memory_error(nano_dir: Path, cache: Path) -> None:
    class Full:
        def infer(self, *_: object, **__: object) -> None:
            raise RuntimeError("Exception from cpu.cpp:1\nstd::bad_alloc\n")

    runtime = OpenVinoRuntime.load(nano_dir, FLOAT32, print, cache_folder=cache)
    state, _ = runtime.prefill([1, 2, 3], [])
    working, state.request = state.request, Full()
    with pytest.raises(MemoryError, match="bad_alloc"):
        runtime.decode(state, 7)
    state.request = working
    assert runtime.decode(state, 7) == runtime.prefill([1, 2, 3, 7], [])[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameters", [SMALL, LARGE])
def test_text_model_calculates_in_float32(dtype: str, parameters: int) -> None:
    # With less precision the argmax would depend on the number of tokens in the pass.
    properties = choose_precision(dtype, parameters, True, int8_vision=True).text_properties
    assert properties == {
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def test_automatic_format_depends_on_size_and_cpu() -> None:
    assert choose_precision("auto", SMALL, True, False) == choose_precision(
        "float32", SMALL, True, False
    )
    large = choose_precision("auto", LARGE, True, False)
    assert large == choose_precision("int8", LARGE, True, False)
    assert (large.text_bits, large.bfloat16_vision, large.int8_vision) == (8, True, False)
    assert not choose_precision("auto", LARGE, False, False).bfloat16_vision


def test_conversions_to_different_formats_have_different_names() -> None:
    names = {
        choose_precision(dtype, LARGE, bfloat16, int8).variant: (dtype, bfloat16, int8)
        for dtype in DTYPES
        for bfloat16 in (True, False)
        for int8 in (True, False)
    }
    assert len(names) == 9
    assert all(name.replace("-", "").isalnum() for name in names)


def test_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"float16.*auto, float32, bfloat16, int8, int4"):
        choose_precision("float16", SMALL, True, False)


RELEASE_AND_INTERRUPT = """
import gc, signal, threading
from vlm.detect.nanodet import NanoDet
from vlm.reading.rapidocr_reader import RapidOcrReader

models = [NanoDet(), RapidOcrReader(), NanoDet(), NanoDet()]
del models[0]
del models[0]
thread = threading.Thread(target=models.clear)
thread.start()
thread.join()
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_works_after_models_were_released_in_any_order_and_by_another_thread() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RELEASE_AND_INTERRUPT],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr


FIRST_USES_AT_ONCE = """
import threading
import numpy as np
from vlm.runtimes.openvino.platform import core, import_openvino

core()
openvino = import_openvino()
barrier = threading.Barrier(8)

def use(number):
    barrier.wait()
    if number % 2:
        openvino.Type.f32.to_dtype()
    else:
        openvino.Tensor(np.zeros(1, np.float32)).data

threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_use_openvino_first_do_not_wait_for_each_other() -> None:
    subprocess.run([sys.executable, "-c", FIRST_USES_AT_ONCE], check=True, cwd=ROOT, timeout=180)
