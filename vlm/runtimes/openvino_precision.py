"""Which number formats a model runs in on OpenVINO's CPU plugin, and what they are there for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vlm.errors import SettingsError
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS

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
