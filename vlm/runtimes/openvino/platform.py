"""Whether OpenVINO can run models here, and what its CPU plugin makes of this CPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final

from vlm.checkpoints.files import ModelSize
from vlm.errors import SettingsError, SightlineError
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, MAX_CACHED_BYTES
from vlm.runtimes.memory import kv_bytes


class OpenVinoUnavailable(SightlineError):
    """OpenVINO is not installed or does not run this model here; the message is a line of why."""

    code = "openvino_unavailable"


@dataclass(frozen=True)
class OpenVino:
    """An installed OpenVINO; `has_bfloat16` tells whether the CPU has instructions for it."""

    version: str
    has_bfloat16: bool


def import_openvino() -> Any:
    """The package `openvino`, which is imported in no other way than through here."""
    # It reports each import and each conversion to its makers over the network, and keeps a number
    # for this user in the home folder, where it finds this package.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def openvino_here() -> OpenVino:
    """The OpenVINO that is here; raises OpenVinoUnavailable where there is none that works."""
    try:
        openvino = import_openvino()
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return OpenVino(openvino.__version__, "BF16" in capabilities)
    except (ImportError, OSError, RuntimeError) as error:
        raise OpenVinoUnavailable(f"OpenVINO cannot be loaded: {first_line(error)}.") from error


def precision_here(dtype: str, parameters: int, int8_vision: bool = False) -> Precision:
    """`choose_precision` for this CPU; raises OpenVinoUnavailable besides SettingsError."""
    return choose_precision(dtype, parameters, openvino_here().has_bfloat16, int8_vision)


def first_line(error: BaseException) -> str:
    """What an error says, in one line: OpenVINO's own begin with where in its source it was."""
    lines = [line for line in str(error).splitlines() if line and "Exception from" not in line]
    return (lines or [type(error).__name__])[0].rstrip(".")


DTYPES: Final = ("auto", "float32", "bfloat16", "int8")
# How many of a token's activations share a scale where int8 vision quantises them. On two cores of
# a Zen 4, SmolVLM-256M's tile took 537 ms in bfloat16; groups of 64 took 420 ms, 128 389 ms, 256
# 385 ms, 768 362 ms, at a relative error of 0.028, 0.029, 0.030 and 0.032 (bfloat16: 0.010).
_INT8_VISION_GROUP: Final = 128


@dataclass(frozen=True)
class Precision:
    """Int8 weights have a scale for each row; vision then has its activations in int8 as well.

    The text model always calculates in float32, whatever its weights are stored in. Its activations
    in bfloat16, or quantised as they come, would be faster over a prompt, but a token's
    choice would then depend on how many tokens went through in the same pass, and a draft could
    change the text: on random weights of SmolVLM-256M's shape 7 to 16 of 100 choices did.
    """

    name: str
    int8_text: bool
    bfloat16_vision: bool
    int8_vision: bool

    @property
    def variant(self) -> str:
        """What has to be converted for it, in file name characters."""
        return "-".join(flag.strip("-") for flag in self.converter_options) or "float32"

    @property
    def converter_options(self) -> list[str]:
        """Flags for `openvino_convert`."""
        flags = {
            "--int8-text": self.int8_text,
            "--int8-vision": self.int8_vision,
            "--bfloat16-vision": self.bfloat16_vision and not self.int8_vision,
        }
        return [flag for flag, is_set in flags.items() if is_set]

    @property
    def vision_properties(self) -> dict[str, object]:
        """For compiling the vision encoder."""
        return {
            "INFERENCE_PRECISION_HINT": "bf16" if self.bfloat16_vision else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _INT8_VISION_GROUP if self.int8_vision else 0,
        }

    @property
    def text_properties(self) -> dict[str, object]:
        """For compiling the text model: nothing is rounded but the weights."""
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }


def choose_precision(
    dtype: str, parameters: int, cpu_has_bfloat16: bool, int8_vision: bool
) -> Precision:
    """By the setting `dtype` for a model of `parameters` numbers.

    "auto" is float32 for a small model; for a large one int8 text weights, and a vision encoder in
    bfloat16 where the CPU has instructions for it. Raises SettingsError for another format.
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
        int8_text=dtype == "int8",
        bfloat16_vision=dtype != "float32" and cpu_has_bfloat16,
        int8_vision=int8_vision,
    )


_MB: Final = 10**6
_FLOAT32_BYTES: Final = 4


def openvino_bytes(size: ModelSize, precision: Precision) -> int:
    """What a converted model needs to caption."""
    # The plugin keeps weights twice, as they are stored and as its kernels want them; those of the
    # text model in int8 take more the second time, by how much depends on their shapes.
    vision = 2 if precision.int8_vision else 4 if precision.bfloat16_vision else 8
    text = 2.75 if precision.int8_text else 8
    text_parameters = size.parameters - size.vision_parameters - size.embedding_parameters
    weights = size.vision_parameters * vision + text_parameters * text
    return int(weights) + 2 * kv_bytes(size, _FLOAT32_BYTES) + MAX_CACHED_BYTES + 450 * _MB


def conversion_bytes(size: ModelSize, precision: Precision) -> int:
    """What the converter needs beside the process that waits for it."""
    # Tracing the vision encoder takes several times its weights.
    traced = 6.8 if precision.bfloat16_vision and not precision.int8_vision else 19.7
    return int(size.parameters * 4.7 + size.vision_parameters * traced) + 480 * _MB
