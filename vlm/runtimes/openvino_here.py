"""Whether OpenVINO can run models here, and what its CPU plugin makes of this CPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

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
