"""The device and dtype of a model: the settings first, else the best of the machine.

Devices that this machine lacks are simulated by patching torch's queries.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vlm.checkpoints.files import ModelSize
from vlm.errors import SettingsError
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS
from vlm.runtimes.torch import devices
from vlm.runtimes.torch.devices import Placement, place
from vlm.runtimes.torch.eager import TorchRuntime, load_model


def of_size(parameters: int) -> ModelSize:
    """Return the size of a model like SmolVLM-256M with another number of parameters."""
    return ModelSize(parameters, 0, 0, layers=30, kv_heads=3, head_dim=64, context_tokens=8192)


SMALL, LARGE = of_size(5_000_000), of_size(LARGE_MODEL_PARAMETERS)
CPU = torch.device("cpu")


@pytest.fixture
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)


@pytest.fixture
def two_gpus(only_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * 10**9, 8 * 10**9))


@pytest.mark.usefixtures("only_cpu")
@pytest.mark.parametrize(
    ("size", "has_bfloat16", "dtype"),
    [
        (SMALL, True, torch.float32),
        (LARGE, True, torch.bfloat16),
        (LARGE, False, torch.float32),
    ],
)
def test_large_models_use_bfloat16_on_a_cpu_that_has_it(
    monkeypatch: pytest.MonkeyPatch, size: ModelSize, has_bfloat16: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16})
    assert place("auto", "auto", size) == Placement(CPU, dtype, spread=False)


@pytest.mark.usefixtures("two_gpus")
def test_gpu_is_preferred_and_uses_bfloat16() -> None:
    assert place("auto", "auto", LARGE) == Placement(
        torch.device("cuda:0"), torch.bfloat16, spread=False
    )


@pytest.mark.usefixtures("two_gpus")
def test_gpu_without_bfloat16_uses_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert place("cuda", "auto", LARGE).dtype == torch.float16


@pytest.mark.usefixtures("two_gpus")
def test_model_too_large_for_one_gpu_is_spread() -> None:
    assert place("auto", "auto", of_size(2_200_000_000)).spread
    assert not place("auto", "auto", of_size(500_000_000)).spread
    assert not place("cuda:1", "auto", of_size(2_200_000_000)).spread, (
        "the settings name one device"
    )


@pytest.mark.usefixtures("only_cpu")
@pytest.mark.parametrize(("name", "dtype"), [("mps", torch.float32), ("xpu", torch.bfloat16)])
def test_other_accelerators_are_found(
    monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype
) -> None:
    module = torch.backends.mps if name == "mps" else torch.xpu
    monkeypatch.setattr(module, "is_available", lambda: True)
    assert place("auto", "auto", LARGE) == Placement(torch.device(name), dtype, spread=False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_settings_override_the_automatic_placement(dtype: str) -> None:
    assert place("cpu", dtype, LARGE) == Placement(CPU, getattr(torch, dtype), spread=False)
    assert place("cuda:1", dtype, SMALL).device == torch.device("cuda:1")


@pytest.mark.usefixtures("two_gpus")
def test_absent_device_is_refused_with_a_list_of_devices() -> None:
    with pytest.raises(SettingsError, match=r"'mps'.*auto, cuda:0, cuda:1, cpu"):
        place("mps", "auto", SMALL)


def test_available_devices_end_with_the_cpu() -> None:
    assert devices.available_devices()[-1] == "cpu"


def test_out_of_memory_raises_and_the_runtime_stays_usable(
    nano_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = TorchRuntime(load_model(nano_dir, torch.float32, "cpu"), CPU)
    pixel_values = np.zeros((1, 3, 192, 192), dtype=np.float32) + 0.5
    with monkeypatch.context() as patch:
        # More than any address space holds.
        patch.setattr(
            torch.nn.functional, "layer_norm", lambda *_: torch.empty(2**60, dtype=torch.uint8)
        )
        with pytest.raises(MemoryError):
            runtime.encode_image(pixel_values)
    assert len(runtime.encode_image(pixel_values)) > 0


def test_other_errors_of_a_pass_keep_their_type(nano_dir: Path) -> None:
    runtime = TorchRuntime(load_model(nano_dir, torch.float32, "cpu"), CPU)
    with pytest.raises(RuntimeError):
        runtime.encode_image(np.ones((1, 5, 192, 192), dtype=np.float32))
    with pytest.raises(ValueError, match="image tokens"):
        runtime.prefill([1, 2, 3], [torch.zeros(64, 192)])
