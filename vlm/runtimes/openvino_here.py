"""Whether OpenVINO can run models here, and what its CPU plugin makes of this CPU."""

from __future__ import annotations

from dataclasses import dataclass

from vlm.errors import SightlineError
from vlm.runtimes.openvino_precision import Precision, choose_precision


class OpenVinoUnavailable(SightlineError):
    """OpenVINO is not installed or does not run this model here; the message is a line of why."""

    code = "openvino_unavailable"


@dataclass(frozen=True)
class OpenVino:
    """An installed OpenVINO; `has_bfloat16` tells whether the CPU has instructions for it."""

    version: str
    has_bfloat16: bool


def openvino_here() -> OpenVino:
    """The OpenVINO that is here; raises OpenVinoUnavailable where there is none that works."""
    try:
        import openvino

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
