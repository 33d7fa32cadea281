"""The installed OpenVINO, and the number formats and memory of a model on its CPU plugin."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from vlm.checkpoints.files import ModelSize
from vlm.errors import SettingsError, SightlineError, first_line
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, MAX_CACHED_BYTES
from vlm.runtimes.memory import kv_bytes


class OpenVinoUnavailableError(SightlineError):
    """OpenVINO is not installed or cannot run this model; the message is a reason of one line."""

    code = "openvino_unavailable"


@dataclass(frozen=True)
class OpenVino:
    """The installed OpenVINO."""

    version: str
    has_bfloat16: bool
    """The CPU has instructions for bfloat16."""


def import_openvino() -> Any:
    """Return the package `openvino`. Import it only by this function, which disables telemetry."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


# Held while OpenVINO compiles: two threads that compiled at the same time crashed the process once
# (2026.4.1, segmentation fault). The language model and the small models have threads of their own.
COMPILING: Final = threading.RLock()


def core() -> Any:
    """Return the process's `openvino.Core`. Make no other: see docs/surprises.md, "signal stack".

    The CPU plugin of a core replaces the calling thread's stack for signal handlers. If cores are
    released in another order than they were made, or by another thread, the kernel keeps the
    address of a stack that is gone, and Ctrl+C ends the process with a segmentation fault.
    """
    with COMPILING:
        return _only_core()


@cache
def _only_core() -> Any:
    openvino = import_openvino()
    # The binding fills its tables of NumPy's types at their first use. Two threads that did so at
    # the same time, the object finder's at the first frame, waited for each other for ever with
    # Python's lock held (2026.4.1).
    tensor = openvino.Tensor(np.zeros(1, np.float32))
    tensor.element_type.to_dtype()
    assert tensor.data.shape == (1,)
    return openvino.Core()


def compile_on_cpu(model: Any, properties: Mapping[str, object]) -> Any:
    """Return `model`, a file or an `openvino.Model`, compiled for the CPU; one at a time."""
    with COMPILING:
        return core().compile_model(model, "CPU", dict(properties))


_OUT_OF_MEMORY_WORDS: Final = ("bad_alloc", "bad alloc", "allocat", "not enough memory")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise OpenVINO's out-of-memory errors as MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in _OUT_OF_MEMORY_WORDS):
            raise
        raise MemoryError(first_line(error)) from None


def openvino_here() -> OpenVino:
    """Return the installed OpenVINO; raise OpenVinoUnavailableError if none works."""
    try:
        capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return OpenVino(import_openvino().__version__, "BF16" in capabilities)
    except (ImportError, OSError, RuntimeError) as error:
        raise OpenVinoUnavailableError(
            f"OpenVINO cannot be loaded: {first_line(error)}."
        ) from error


def precision_here(dtype: str, parameters: int, int8_vision: bool = False) -> Precision:
    """Return `choose_precision` for this CPU; raise OpenVinoUnavailableError too."""
    return choose_precision(dtype, parameters, openvino_here().has_bfloat16, int8_vision)


DTYPES: Final = ("auto", "float32", "bfloat16", "int8", "int4")
_TEXT_BITS: Final = {"int8": 8, "int4": 4}
# Number of a token's activations that share a scale in int8 vision. On two cores of a Zen 4,
# SmolVLM-256M's tile took 537 ms in bfloat16; groups of 64 took 420 ms, 128 389 ms, 256
# 385 ms, 768 362 ms, at a relative error of 0.028, 0.029, 0.030 and 0.032 (bfloat16: 0.010).
_INT8_VISION_GROUP: Final = 128


@dataclass(frozen=True)
class Precision:
    """Number formats. Int8 weights have a scale for each row; int8 vision has int8 activations too.

    Int4 weights have a scale and a zero point for each 64 numbers of a row.

    The text model always calculates in float32, whatever its weights are stored in. Activations in
    bfloat16, or quantised dynamically, would be faster over a prompt, but the argmax would depend
    on the number of tokens in the pass, and a draft could change the text: on random weights of
    SmolVLM-256M's shape 7 to 16 of 100 tokens changed.
    """

    name: str
    text_bits: int
    """Of the text model's weights: 32, 8 or 4."""
    bfloat16_vision: bool
    int8_vision: bool

    @property
    def variant(self) -> str:
        """Name of the conversion, in characters of a file name."""
        return "-".join(flag.strip("-") for flag in self.converter_options) or "float32"

    @property
    def converter_options(self) -> list[str]:
        """Flags of `python -m vlm.runtimes.openvino.convert`."""
        flags = {
            "--int8-text": self.text_bits == 8,
            "--int4-text": self.text_bits == 4,
            "--int8-vision": self.int8_vision,
            "--bfloat16-vision": self.bfloat16_vision and not self.int8_vision,
        }
        return [flag for flag, is_set in flags.items() if is_set]

    @property
    def vision_properties(self) -> dict[str, object]:
        return {
            "INFERENCE_PRECISION_HINT": "bf16" if self.bfloat16_vision else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _INT8_VISION_GROUP if self.int8_vision else 0,
        }

    @property
    def text_properties(self) -> dict[str, object]:
        """Properties with which nothing is rounded except the weights."""
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }


def choose_precision(
    dtype: str, parameters: int, cpu_has_bfloat16: bool, int8_vision: bool
) -> Precision:
    """Return the precision that the setting `dtype` names, for a model of `parameters` numbers.

    "auto" is float32 for a small model; for a large one int8 text weights, and a vision encoder in
    bfloat16 if the CPU has instructions for it. Raise SettingsError for another format.
    """
    if dtype not in DTYPES:
        raise SettingsError(
            f"The OpenVINO runtime has no {dtype}. Choose --dtype {', '.join(DTYPES)}, or "
            "--runtime torch."
        )
    if dtype == "auto":
        dtype = "int8" if parameters >= LARGE_MODEL_PARAMETERS else "float32"
    return Precision(
        name=f"{dtype}, int8 vision" if int8_vision else dtype,
        text_bits=_TEXT_BITS.get(dtype, 32),
        bfloat16_vision=dtype != "float32" and cpu_has_bfloat16,
        int8_vision=int8_vision,
    )


_MB: Final = 10**6
_FLOAT32_BYTES: Final = 4


def openvino_bytes(size: ModelSize, precision: Precision) -> int:
    """Return the memory that a converted model needs."""
    # The plugin keeps weights twice, as stored and as packed for its kernels; int8 and int4 text
    # weights take more when packed, depending on their shapes.
    vision = 2.0 if precision.int8_vision else 4.0 if precision.bfloat16_vision else 8.0
    # Two vision states: that of frames that are encoded whole, and a camera's. Those of small
    # models are in the constant.
    if size.parameters >= LARGE_MODEL_PARAMETERS:
        keeps_bfloat16 = precision.bfloat16_vision and not precision.int8_vision
        vision += 1.7 if keeps_bfloat16 else 3.4
    text = {32: 8.0, 8: 2.75, 4: 2.15}[precision.text_bits]
    text_parameters = size.parameters - size.vision_parameters - size.embedding_parameters
    weights = size.vision_parameters * vision + text_parameters * text
    # Of KV caches: one that is fed, twice as large as it is full, and the newest frame's.
    return int(weights) + 3 * kv_bytes(size, _FLOAT32_BYTES) + MAX_CACHED_BYTES + 440 * _MB


def conversion_bytes(size: ModelSize, precision: Precision) -> int:
    """Return the memory that the converter's process needs."""
    # Tracing the vision encoder takes several times its weights.
    traced = 6.8 if precision.bfloat16_vision and not precision.int8_vision else 19.7
    return int(size.parameters * 4.7 + size.vision_parameters * traced) + 480 * _MB
