"""Memory estimates before loading: needed, free, and refused models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from checkpoint_copy import copy_checkpoint
from vlm.checkpoints.catalogue import KNOWN_MODELS, known_model
from vlm.checkpoints.files import ModelSize, model_size
from vlm.errors import ModelTooLargeError
from vlm.models.loading import load_engine, require_fit
from vlm.runtimes import load as fit_module
from vlm.runtimes.load import TorchPlan, fit, load_runtime, plan
from vlm.runtimes.memory import free_host_bytes
from vlm.runtimes.openvino.platform import openvino_here, precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.runtimes.torch.devices import Placement, free_bytes, free_bytes_of_all
from vlm.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SIZE = ModelSize(
    parameters=500_000_000,
    vision_parameters=100_000_000,
    embedding_parameters=50_000_000,
    layers=32,
    kv_heads=5,
    head_dim=64,
    context_tokens=2000,
)
ON_CPU = Settings(device="cpu")
WAYS = [
    replace(ON_CPU, runtime=runtime, dtype=dtype)
    for runtime, dtypes in (
        ("openvino", ("int4", "int8", "bfloat16", "float32")),
        ("torch", ("bfloat16", "float32")),
    )
    for dtype in dtypes
]


SetFree = Callable[[int], None]


@pytest.fixture
def set_free(monkeypatch: pytest.MonkeyPatch) -> SetFree:
    """`set_free(bytes)` sets the free memory of the machine."""
    return lambda free_bytes: monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=free_bytes)
    )


@pytest.mark.parametrize("settings", WAYS)
@pytest.mark.parametrize(
    "larger",
    [
        replace(SIZE, parameters=510_000_000),
        replace(SIZE, vision_parameters=110_000_000, parameters=510_000_000),
        replace(SIZE, layers=64),
        replace(SIZE, context_tokens=2200),
    ],
)
def test_larger_models_need_more_memory(
    settings: Settings, larger: ModelSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The peak of a conversion has no KV cache.
    monkeypatch.setattr(fit_module, "is_converted_for", lambda *_: True)
    assert fit(larger, settings).needed_bytes > fit(SIZE, settings).needed_bytes


def test_kv_cache_is_bounded_by_the_longest_request() -> None:
    wide, wider = (replace(SIZE, context_tokens=tokens) for tokens in (8192, 16384))
    for settings in WAYS:
        assert fit(wide, settings).needed_bytes == fit(wider, settings).needed_bytes


def test_smaller_formats_need_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for converted in (True, False):
        monkeypatch.setattr(fit_module, "is_converted_for", lambda *_, here=converted: here)
        int4, int8, bfloat16, float32 = (fit(SIZE, each).needed_bytes for each in WAYS[:4])
        assert int4 <= int8 <= bfloat16 <= float32
        # A CPU without bfloat16 encodes in float32, and all conversions trace the same encoder.
        if converted or openvino_here().has_bfloat16:
            assert int8 < float32
    bfloat16, float32 = (fit(SIZE, settings).needed_bytes for settings in WAYS[4:])
    assert bfloat16 < float32


@pytest.mark.parametrize("settings", [ON_CPU, *WAYS[2:]])
def test_fit_names_the_device_and_dtype_of_the_runtime(nano_dir: Path, settings: Settings) -> None:
    known = known_model("nano")
    assert known is not None
    estimate = fit(known.size, settings, nano_dir)
    runtime = load_runtime(nano_dir, settings, print)
    assert (estimate.device, estimate.dtype) == (runtime.device, runtime.dtype)


def test_converted_model_needs_less_memory(nano_dir: Path) -> None:
    OpenVinoRuntime.load(nano_dir, precision_here("float32", 0), print)
    size = KNOWN_MODELS[0].size
    assert fit(size, ON_CPU, nano_dir).needed_bytes < fit(size, ON_CPU).needed_bytes


@pytest.fixture
def huge_dir(nano_dir: Path, tmp_path: Path) -> Path:
    """A checkpoint with a header of one terabyte of weights, but without the weights."""
    folder = copy_checkpoint(nano_dir, tmp_path / "huge", {"model.safetensors": None})
    numbers = 5 * 10**11
    tensor = {"dtype": "BF16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}
    header = json.dumps({"model.text_model.norm.weight": tensor}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def load_checked(folder: Path, settings: Settings) -> None:
    """Load as `load_engine` does, without its check of file sizes, which refuses `huge_dir`."""
    size = model_size(folder)
    load_runtime(folder, settings, print, lambda plan: require_fit(plan, size, settings, folder))


@pytest.mark.parametrize("settings", [ON_CPU, *WAYS])
def test_too_large_model_is_refused_before_its_weights_are_read(
    huge_dir: Path, settings: Settings
) -> None:
    with pytest.raises(ModelTooLargeError) as caught:
        load_checked(huge_dir, replace(settings, model=str(huge_dir)))
    message = str(caught.value)
    assert message.startswith("huge needs about ")
    assert f"in {fit(SIZE, settings).dtype}, its KV cache" in message
    assert "GB are free in memory" in message
    assert "smaller model (--model " in message
    assert "close other programs" in message
    assert str(huge_dir.parent) not in message


def test_refusal_names_the_largest_model_that_fits(huge_dir: Path, set_free: SetFree) -> None:
    needed = {model.name: fit(model.size, ON_CPU).needed_bytes for model in KNOWN_MODELS}
    for left_bytes, named in (
        (needed["smolvlm-500m"], "smolvlm-500m"),
        (needed["smolvlm-256m"], "smolvlm-256m"),
        (0, "nano"),
    ):
        set_free(left_bytes)
        with pytest.raises(ModelTooLargeError, match=rf"--model {named}\)"):
            load_checked(huge_dir, ON_CPU)


def test_refusal_names_only_formats_that_fit(
    nano_dir: Path, tmp_path: Path, set_free: SetFree, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "copy")
    monkeypatch.setattr(fit_module, "is_converted_for", lambda *_: True)
    set_free(fit(SIZE, replace(ON_CPU, dtype="int8")).needed_bytes)
    as_float32 = replace(ON_CPU, dtype="float32")
    with pytest.raises(ModelTooLargeError, match=r"--dtype int8\).*--runtime torch"):
        require_fit(plan(SIZE, as_float32), SIZE, as_float32, folder)
    set_free(0)
    with pytest.raises(ModelTooLargeError) as caught:
        require_fit(plan(SIZE, as_float32), SIZE, as_float32, folder)
    assert "--dtype" not in str(caught.value)
    assert "--runtime" not in str(caught.value)


def test_bundled_model_is_always_loaded(nano_dir: Path, set_free: SetFree) -> None:
    set_free(0)
    assert not fit(KNOWN_MODELS[0].size, ON_CPU).fits
    assert load_engine(replace(ON_CPU, model="nano")).info.runtime == "openvino"


def test_model_spread_over_gpus_is_always_loaded(huge_dir: Path, set_free: SetFree) -> None:
    set_free(0)
    spread = Placement(torch.device("cuda:0"), torch.bfloat16, spread=True)
    require_fit(TorchPlan(spread), replace(SIZE, parameters=10**12), Settings(), huge_dir)


def test_free_memory_of_accelerators_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_: torch.device) -> tuple[int, int]:
        raise RuntimeError("The device does not support querying the available free memory.")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 + device.index, 9))
    monkeypatch.setattr(torch.xpu, "mem_get_info", unsupported)
    monkeypatch.setattr(
        torch.xpu, "get_device_properties", lambda _: SimpleNamespace(total_memory=90)
    )
    monkeypatch.setattr(torch.xpu, "memory_reserved", lambda _: 20)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 60)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 10)
    free = [free_bytes(torch.device(name)) for name in ("cuda:1", "xpu", "mps")]
    assert free == [6, 70, 50]
    assert free_bytes_of_all() > 5 + 6


def test_fit_imports_no_torch() -> None:
    code = (
        "import sys; from vlm.checkpoints.catalogue import KNOWN_MODELS\n"
        "from vlm.runtimes.load import fit; from vlm.settings import Settings\n"
        "print([fit(model.size, Settings(device='cpu')) for model in KNOWN_MODELS])\n"
        "heavy = {'torch', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def group_v2(folder: Path, limit: object, used: int = 0, cached: int = 0) -> None:
    statistics = f"anon 7\ninactive_file {cached // 2}\nactive_file {cached - cached // 2}"
    group(folder, {"memory.max": limit, "memory.current": used, "memory.stat": statistics})


def own_cgroups(folder: Path, text: str) -> Path:
    file = folder / "own"
    file.write_text(text)
    return file


def test_limit_of_a_container_bounds_free_memory(tmp_path: Path) -> None:
    group_v2(tmp_path / "a" / "b", 10**6, used=700_000, cached=100_001)
    place = own_cgroups(tmp_path, "0::/a/b\n")
    assert free_host_bytes(tmp_path, place) == 400_001


def test_smallest_limit_of_nested_groups_counts(tmp_path: Path) -> None:
    group_v2(tmp_path / "a" / "b", 10**6)
    group_v2(tmp_path / "a", 500_000, used=200_000)
    group_v2(tmp_path, "max")
    assert free_host_bytes(tmp_path, own_cgroups(tmp_path, "0::/a/b\n")) == 300_000


def test_group_mounted_as_the_root_is_found(tmp_path: Path) -> None:
    group_v2(tmp_path, 10**6, used=250_000)
    for text in ("0::/\n", "0::/elsewhere/on/the/host\n", "0::/../..\n"):
        assert free_host_bytes(tmp_path, own_cgroups(tmp_path, text)) == 750_000


def test_cgroup_v1_limit_bounds_free_memory(tmp_path: Path) -> None:
    group(
        tmp_path / "memory" / "docker",
        {
            "memory.limit_in_bytes": 10**6,
            "memory.usage_in_bytes": 600_000,
            "memory.stat": "inactive_file 1\ntotal_inactive_file 40000\ntotal_active_file 60000",
        },
    )
    place = own_cgroups(tmp_path, "5:cpu:/x\n4:cpuacct,memory:/docker\n0::/\n")
    assert free_host_bytes(tmp_path, place) == 500_000


def test_full_container_has_no_free_memory(tmp_path: Path) -> None:
    group_v2(tmp_path, 10**6, used=2 * 10**6)
    assert free_host_bytes(tmp_path, own_cgroups(tmp_path, "0::/\n")) == 0


@pytest.mark.parametrize("text", ["", "0::/\n", "4:memory:/none\n"])
def test_free_memory_without_a_limit_is_the_machines(tmp_path: Path, text: str) -> None:
    free_bytes = free_host_bytes(tmp_path, own_cgroups(tmp_path, text))
    assert 0 < free_bytes <= psutil.virtual_memory().total
    assert 0 < free_host_bytes(tmp_path, tmp_path / "none") <= psutil.virtual_memory().total
