"""Choose the runtime for a model, estimate its memory, and load it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vlm.checkpoints.files import ModelSize, model_size
from vlm.errors import SettingsError
from vlm.runtimes.accelerator import CHECK, without_cuda
from vlm.runtimes.base import Runtime
from vlm.runtimes.device_words import memory_taken
from vlm.runtimes.memory import Fit, free_host_bytes
from vlm.runtimes.openvino.cache import default_cache_folder, is_converted
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    Precision,
    conversion_bytes,
    openvino_bytes,
    openvino_here,
    precision_here,
)
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.runtimes.torch.devices import Placement

log = logging.getLogger("sightline")

_TORCH_DTYPES: Final = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class OpenVinoPlan:
    """OpenVINO on the CPU. `device` and `dtype` are those of the runtime."""

    precision: Precision
    why_cpu: str = ""
    """Why an accelerator that is here is not used, in a sentence."""

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def dtype(self) -> str:
        return self.precision.name


@dataclass(frozen=True)
class TorchPlan:
    """Torch. `device` and `dtype` are those of the runtime."""

    placement: Placement
    why_not_openvino: str = ""
    """One line if torch is the fallback for an OpenVINO that failed."""
    static: bool = False
    """A static KV cache, which lets requests share passes, on a CPU too."""
    why_cpu: str = ""
    """As of OpenVinoPlan."""

    @property
    def device(self) -> str:
        return str(self.placement.device)

    @property
    def dtype(self) -> str:
        return str(self.placement.dtype).removeprefix("torch.")


Plan: TypeAlias = OpenVinoPlan | TorchPlan


def plan(
    size: ModelSize, settings: Settings, on_progress: Callable[[str], None] = lambda _: None
) -> Plan:
    """Return the runtime for a model of `size`: "auto" is torch on a GPU, OpenVINO on a CPU.

    Torch is the fallback if OpenVINO cannot be loaded, and the CPU for a GPU that fails its test or
    whose memory others have taken. Torch is imported only if it is to run the model. `on_progress`
    receives a sentence if the GPU is tested. Raise SettingsError for a format that the runtime
    lacks, or a device that this machine lacks.
    """
    if settings.runtime in ("torch", "torch-static") and settings.dtype not in _TORCH_DTYPES:
        raise SettingsError(
            f"--dtype {settings.dtype} is for OpenVINO. With --runtime {settings.runtime} "
            f"choose {', '.join(_TORCH_DTYPES[:-1])} or {_TORCH_DTYPES[-1]}."
        )
    if settings.runtime == "openvino":
        if settings.device not in ("auto", "cpu"):
            raise SettingsError(
                f"--runtime openvino is for the CPU, and --device is {settings.device}. Leave one "
                "of the two out."
            )
        return _cpu_plan(size, settings, "")
    if settings.device == "auto":
        found = CHECK.result(on_progress)
        if found.device is None:
            return _cpu_plan(size, settings, found.problem)
    elif settings.device == "cpu":
        return _cpu_plan(size, settings, "")
    chosen = _torch_plan(size, settings, settings.device)
    if settings.device == "auto" and (problem := _memory_problem(size, chosen)):
        return _cpu_plan(size, settings, problem)
    return chosen


def _cpu_plan(size: ModelSize, settings: Settings, why_cpu: str) -> Plan:
    if settings.runtime in ("torch", "torch-static") or (
        settings.runtime == "auto" and settings.dtype == "float16"
    ):
        return replace(_torch_plan(size, settings, "cpu"), why_cpu=why_cpu)
    try:
        precision = precision_here(settings.dtype, size.parameters, settings.int8_vision)
    except OpenVinoUnavailableError as error:
        return replace(_fallback(size, settings, error), why_cpu=why_cpu)
    return OpenVinoPlan(precision, why_cpu)


def _fallback(size: ModelSize, settings: Settings, error: OpenVinoUnavailableError) -> TorchPlan:
    """Return the plan to run on the CPU by torch, because of `error`."""
    dtype = settings.dtype if settings.dtype in _TORCH_DTYPES else "auto"
    chosen = _torch_plan(size, replace(settings, dtype=dtype, runtime="torch"), "cpu")
    return replace(chosen, why_not_openvino=str(error))


def _torch_plan(size: ModelSize, settings: Settings, device: str) -> TorchPlan:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.devices import place

    try:
        placement = place(device, settings.dtype, size)
    except SettingsError:
        if device.startswith("cuda") and (words := without_cuda()):
            raise SettingsError(words) from None
        raise
    return TorchPlan(placement, static=settings.runtime == "torch-static")


def _memory_problem(size: ModelSize, chosen: TorchPlan) -> str:
    """Return that others have taken the memory of the device, empty if they have not."""
    from vlm.runtimes.torch import devices

    device = chosen.placement.device
    needed_bytes = devices.needed_bytes(size, device, chosen.placement.dtype)
    return memory_taken(str(device)) if devices.is_taken(device, needed_bytes) else ""


def fit(size: ModelSize, settings: Settings, folder: Path | None = None) -> Fit:
    """Return the fit of a model of `size` with `settings`; load nothing. Raise SettingsError.

    `folder` is its checkpoint, if here: a model that OpenVINO has converted before needs less.
    """
    return fit_of(plan(size, settings), size, folder)


def fit_of(chosen: Plan, size: ModelSize, folder: Path | None) -> Fit:
    """Return the fit of a model of `size` with the plan `chosen`; `folder` as for `fit`."""
    if isinstance(chosen, OpenVinoPlan):
        needed_bytes = openvino_bytes(size, chosen.precision)
        if not is_converted_for(folder, chosen.precision):
            needed_bytes = max(needed_bytes, conversion_bytes(size, chosen.precision))
        return Fit(needed_bytes, free_host_bytes(), chosen.device, chosen.dtype)
    # Making the plan has imported torch already.
    from vlm.runtimes.torch import devices

    placement = chosen.placement
    return Fit(
        devices.needed_bytes(size, placement.device, placement.dtype),
        devices.free_bytes_of_all() if placement.spread else devices.free_bytes(placement.device),
        chosen.device,
        chosen.dtype,
    )


def is_converted_for(folder: Path | None, precision: Precision) -> bool:
    """Return whether the cache holds the checkpoint in `folder`, converted for `precision`."""
    return folder is not None and is_converted(
        folder, precision.variant, openvino_here().version, default_cache_folder()
    )


def load_runtime(
    folder: Path,
    settings: Settings,
    on_progress: Callable[[str], None],
    check: Callable[[Plan], None] = lambda _: None,
) -> Runtime[Any]:
    """Load the model in `folder` into the runtime that `settings` name, else the fastest one here.

    `on_progress` receives sentences while the model is converted. `check` is called with the plan
    before any weights are read, and may raise. If OpenVINO cannot run the model, torch does, and
    the reason is logged. Raise SettingsError or CheckpointError.
    """
    size = model_size(folder)
    chosen = plan(size, settings, on_progress)
    check(chosen)
    if isinstance(chosen, TorchPlan):
        return _load_torch(folder, chosen)
    try:
        return _load_openvino(folder, chosen, on_progress)
    except OpenVinoUnavailableError as error:
        fallback = replace(_fallback(size, settings, error), why_cpu=chosen.why_cpu)
        check(fallback)
        return _load_torch(folder, fallback)


def _load_openvino(
    folder: Path, chosen: OpenVinoPlan, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    from vlm.runtimes.openvino.runtime import OpenVinoRuntime

    return OpenVinoRuntime.load(folder, chosen.precision, on_progress)


def _load_torch(folder: Path, chosen: TorchPlan) -> Runtime[Any]:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.eager import TorchRuntime, load_model
    from vlm.runtimes.torch.static import StaticTorchRuntime, suits

    if chosen.why_not_openvino:
        log.warning("Torch takes over in %s: %s", chosen.dtype, chosen.why_not_openvino)
    placement = chosen.placement
    model = load_model(folder, placement.dtype, str(placement.device), spread=placement.spread)
    is_static = chosen.static and not placement.spread
    runtime = StaticTorchRuntime if is_static or suits(placement) else TorchRuntime
    return runtime(model, placement.device)
