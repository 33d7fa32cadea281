"""Laws of the accelerator: tested in a child process, and never at the cost of the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vlm.checkpoints.catalogue import KNOWN_MODELS
from vlm.errors import DeviceFailedError, SettingsError
from vlm.models.loading import load_engine
from vlm.runtimes import accelerator
from vlm.runtimes.accelerator import CHECK, Accelerator
from vlm.runtimes.load import OpenVinoPlan, TorchPlan, plan
from vlm.runtimes.torch import devices
from vlm.runtimes.torch.devices import Placement, device_errors
from vlm.settings import Settings

FAKE_TORCH = Path(__file__).resolve().parents[1] / "fake_torch"
NANO = KNOWN_MODELS[0].size
CPU = ", so the CPU captions"
RESTART = f"{CPU}; a restart of this machine helps."
SILENT = f"The driver of the graphics card does not answer{RESTART}"
CARD = "the graphics card (Tested cuda:0)"

SetTorch = Callable[[str], None]


@pytest.fixture
def set_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetTorch]:
    """`set_torch(what)` sets what the stand-in for torch finds; see tests/fake_torch."""
    CHECK.forget()
    monkeypatch.setattr(accelerator, "_GPU_FILES", (os.devnull,))
    monkeypatch.setattr(accelerator, "_has_nvidia_driver", lambda: True)
    build = accelerator._TorchBuild("2.13.0", cuda="13.0")
    monkeypatch.setattr(accelerator, "_torch_build", lambda: build)
    monkeypatch.setenv("PYTHONPATH", str(FAKE_TORCH))
    yield lambda what: monkeypatch.setenv("FAKE_TORCH", what)
    CHECK.forget()


@pytest.mark.parametrize(
    ("what", "device"), [("cuda", "cuda:0"), ("xpu", "xpu"), ("mps", "mps"), ("cpu", None)]
)
def test_a_device_that_passes_its_test_is_used(
    set_torch: SetTorch, what: str, device: str | None
) -> None:
    set_torch(what)
    heard: list[str] = []
    assert CHECK.result(heard.append) == Accelerator(device)
    assert heard == ["Testing the graphics card ..."]
    # The result is kept.
    set_torch("cuda product CUDA error: out of memory")
    assert CHECK.result(heard.append) == Accelerator(device)
    assert len(heard) == 1


FAILURES = [
    (
        "cuda product CUDA error: no kernel image is available for execution on the device",
        f"The graphics card (Tested cuda:0) is too old for this PyTorch{CPU}.",
    ),
    (
        "cuda product NVIDIA GTX 960 with CUDA capability sm_52 is not compatible with the current "
        "PyTorch installation.",
        f"The graphics card (Tested cuda:0) is too old for this PyTorch{CPU}.",
    ),
    (
        "cuda product CUDA out of memory. Tried to allocate 20.00 MiB.",
        f"Other programs have taken the memory of {CARD}{CPU}; close them and try again.",
    ),
    (
        "cuda product CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
        f"Other programs have taken the memory of {CARD}{CPU}; close them and try again.",
    ),
    (
        "xpu read Level-Zero error: UR_RESULT_ERROR_OUT_OF_RESOURCES",
        "Other programs have taken the memory of the graphics card (Tested xpu)"
        f"{CPU}; close them and try again.",
    ),
    (
        "mps product MPS backend out of memory (MPS allocated: 8 GB)",
        f"Other programs have taken the memory of the graphics card{CPU}; close them and try "
        "again.",
    ),
    (
        "cuda product CUDA error: all CUDA-capable devices are busy or unavailable",
        f"Another program uses {CARD} alone{CPU}; end it and try again.",
    ),
    (
        "none init The NVIDIA driver on your system is too old (found version 11040).",
        f"The driver of the graphics card is too old for this PyTorch{CPU}; update it.",
    ),
    (
        "cuda product CUDA driver version is insufficient for CUDA runtime version",
        f"The driver of {CARD} is too old for this PyTorch{CPU}; update it.",
    ),
    (
        "none init CUDA unknown error - this may be due to an incorrectly set up environment",
        SILENT,
    ),
    (
        "cuda product CUDA error: unspecified launch failure",
        f"The driver of {CARD} does not answer{RESTART}",
    ),
    (
        "cuda read CUDA error: uncorrectable ECC error encountered",
        f"The driver of {CARD} does not answer{RESTART}",
    ),
    (
        "xpu product UR_RESULT_ERROR_DEVICE_LOST",
        f"The driver of the graphics card (Tested xpu) does not answer{RESTART}",
    ),
    (
        "cuda count CUDA initialization error",
        f"The driver of the graphics card does not answer{RESTART}",
    ),
    ("cuda product crash", f"The driver of the graphics card does not answer{RESTART}"),
    ("cuda count exit", f"The driver of the graphics card does not answer{RESTART}"),
    (
        "cuda import libcudnn.so.9: cannot open shared object file: No such file or directory",
        f"PyTorch cannot be loaded{CPU}.",
    ),
    ("cuda wrong", f"The graphics card (Tested cuda:0) failed (it computes wrong results){CPU}."),
    (
        "mps product Something new. See /usr/lib/x",
        f"The graphics card failed (Something new){CPU}.",
    ),
    ("mps product /usr/lib/python3/site-packages/torch is odd", f"The graphics card failed{CPU}."),
]


@pytest.mark.parametrize(("what", "problem"), FAILURES)
def test_a_device_that_fails_its_test_has_a_reason_in_one_sentence(
    set_torch: SetTorch, what: str, problem: str
) -> None:
    set_torch(what)
    assert CHECK.result() == Accelerator(None, problem)


def test_a_driver_that_does_not_answer_is_given_up(
    set_torch: SetTorch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "PROBE_S", 1.0)
    set_torch("cuda count hang")
    assert CHECK.result() == Accelerator(None, SILENT)


@pytest.mark.parametrize(
    "message",
    [
        "Found no NVIDIA driver on your system.",
        "No CUDA GPUs are available",
        "No HIP GPUs are available",
    ],
)
def test_no_device_is_no_problem(set_torch: SetTorch, message: str) -> None:
    set_torch(f"none init {message}")
    assert CHECK.result() == Accelerator(None)


def test_a_failed_device_leaves_openvino_on_the_cpu(
    set_torch: SetTorch, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_torch("cuda product CUDA error: no kernel image is available")
    CHECK.result()
    # The conversion for OpenVINO needs the real torch.
    monkeypatch.delenv("PYTHONPATH")
    engine = load_engine(Settings(model="nano"))
    assert (engine.info.runtime, engine.info.device) == ("openvino", "cpu")
    assert "too old for this PyTorch" in engine.info.why_cpu
    chosen = plan(NANO, Settings(runtime="torch"))
    assert isinstance(chosen, TorchPlan)
    assert chosen.device == "cpu"
    assert chosen.why_cpu == engine.info.why_cpu
    assert plan(NANO, Settings(device="cpu")).why_cpu == ""
    assert plan(NANO, Settings(runtime="openvino")).why_cpu == ""


# -- an NVIDIA card beside a PyTorch without CUDA --


@pytest.mark.parametrize(
    ("build", "has_driver", "is_told"),
    [
        (("2.13.0+cpu", None), True, True),
        (("2.13.0", None), True, True),  # what Windows' pip installs
        (("2.13.0+cpu", None), False, False),
        (("2.13.0", "13.0"), True, False),
    ],
)
def test_a_pytorch_without_cuda_names_the_command_that_installs_another(
    set_torch: SetTorch,
    monkeypatch: pytest.MonkeyPatch,
    build: tuple[str, str | None],
    has_driver: bool,
    is_told: bool,
) -> None:
    set_torch("cpu")
    monkeypatch.setattr(accelerator, "_has_nvidia_driver", lambda: has_driver)
    monkeypatch.setattr(accelerator, "_torch_build", lambda: accelerator._TorchBuild(*build))
    problem = CHECK.result().problem
    assert ("pip install --force-reinstall torch==2.13.0 --index-url" in problem) is is_told
    assert ("\n" in problem) is False
    with pytest.raises(SettingsError) as raised:
        plan(NANO, Settings(device="cuda"))
    assert ("built without CUDA" in str(raised.value)) is is_told


@pytest.mark.parametrize(
    ("platform", "file", "has_driver"),
    [
        ("linux", "dev", True),
        ("linux", None, False),
        ("win32", "System32/nvcuda.dll", True),
        ("win32", None, False),
        ("darwin", "dev", False),
    ],
)
def test_an_nvidia_driver_is_found_by_its_files(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform: str,
    file: str | None,
    has_driver: bool,
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(accelerator, "_NVIDIA_FILES", (str(tmp_path / "dev"),))
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accelerator._has_nvidia_driver() is has_driver


def test_the_installed_torch_is_read_without_importing_it() -> None:
    build = accelerator._torch_build()
    assert build is not None
    assert build.version == torch.__version__
    assert (build.cuda, build.hip) == (torch.version.cuda, torch.version.hip)


# -- memory --


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A CUDA device that passes its test; its `free` and `own` memory may be set, of 8 GB."""
    memory = SimpleNamespace(free=8 * 10**9, own=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.free, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: memory.own)
    CHECK.forget()
    monkeypatch.setattr(accelerator, "_test", lambda on_progress: Accelerator("cuda:0"))
    yield memory
    CHECK.forget()


def test_memory_that_others_have_taken_leaves_the_cpu(one_gpu: SimpleNamespace) -> None:
    size = KNOWN_MODELS[1].size
    assert plan(size, Settings()).device == "cuda:0"
    one_gpu.free = 10**8
    chosen = plan(size, Settings())
    assert isinstance(chosen, OpenVinoPlan)
    assert chosen.why_cpu == (
        f"Other programs have taken the memory of the graphics card (cuda:0){CPU}; close them and "
        "try again."
    )
    # What the current model holds is no reason, and neither is a model beyond the whole card.
    one_gpu.own = 7 * 10**9
    assert plan(size, Settings()).device == "cuda:0"
    one_gpu.own = 0
    assert plan(KNOWN_MODELS[-1].size, Settings(dtype="float32")).device == "cuda:0"
    assert plan(size, Settings(device="cuda:0")).device == "cuda:0"


# -- a load that fails, by a device that torch takes for one --


@pytest.mark.parametrize(
    ("message", "why_cpu", "is_lasting"),
    [
        ("CUDA error: unspecified launch failure", f"does not answer{RESTART}", True),
        ("CUDA out of memory. Tried to allocate 2 GiB", "have taken the memory of", False),
        ("MPS: an operation that nobody wrote", "failed (MPS: an operation", True),
    ],
)
def test_a_load_that_fails_on_a_device_goes_on_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, message: str, why_cpu: str, is_lasting: bool
) -> None:
    def fail(*_: object, **__: object) -> object:
        with device_errors():
            raise RuntimeError(message)

    placement = Placement(torch.device("cuda:0"), torch.float32, spread=False)
    CHECK.forget()
    monkeypatch.setattr(accelerator, "_test", lambda on_progress: Accelerator("cuda:0"))
    monkeypatch.setattr("vlm.runtimes.torch.devices.place", lambda *_: placement)
    monkeypatch.setattr(devices, "is_taken", lambda *_: False)
    monkeypatch.setattr(devices, "free_bytes", lambda _: 10**12)
    monkeypatch.setattr("vlm.runtimes.torch.eager.load_model", fail)
    try:
        engine = load_engine(Settings(model="nano"))
        assert (engine.info.runtime, engine.info.device) == ("openvino", "cpu")
        assert why_cpu in engine.info.why_cpu
        assert (CHECK.result().device is None) is is_lasting
        CHECK.forget()
        with pytest.raises((RuntimeError, MemoryError, DeviceFailedError)):
            load_engine(Settings(model="nano", device="cuda:0"))
    finally:
        CHECK.forget()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA error: device-side assert triggered", DeviceFailedError),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", DeviceFailedError),
        ("HIP error: invalid device function", DeviceFailedError),
        ("UR error", DeviceFailedError),
        ("CUDA error: out of memory", MemoryError),
        ("The size of tensor a (3) must match the size of tensor b (4)", RuntimeError),
    ],
)
def test_errors_of_a_pass_are_told_apart(message: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised, device_errors():
        raise RuntimeError(message)
    assert type(raised.value) is kind
