"""Test the accelerator that torch finds: `python -m vlm.runtimes.torch.probe` prints the result.

A process of its own, because a faulty card or driver can block or end the process that touches it.
Imports torch and nothing else of this project.
"""

from __future__ import annotations

import json
from typing import Any, Final

_SIDE: Final = 64


def available_devices() -> list[str]:
    """Return the names of the devices of this machine, the preferred one first."""
    import torch

    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    if torch.xpu.is_available():
        devices.append("xpu")
    return [*devices, "cpu"]


def probe() -> dict[str, Any]:
    """Return the preferred device ("device"), its name and, if it fails, the message ("error")."""
    report: dict[str, Any] = {"device": None, "name": None, "error": None}
    try:
        import torch

        device = available_devices()[0]
        if device == "cpu":
            if torch.version.cuda or torch.version.hip:
                # With a driver that does not work torch counts no device; this raises the reason.
                torch.cuda.init()  # type: ignore[no-untyped-call]
            return report
        report["device"] = device
        if device.startswith("cuda"):
            report["name"] = torch.cuda.get_device_name(device)
        elif device == "xpu":
            report["name"] = torch.xpu.get_device_name(device)
        ones = torch.ones((_SIDE, _SIDE), device=device)
        # Reading the result waits for the device.
        total = (ones @ ones).sum().item()
        if total != _SIDE**3:
            report["error"] = "it computes wrong results"
    except Exception as error:
        report["error"] = str(error) or type(error).__name__
    return report


if __name__ == "__main__":
    print(json.dumps(probe()), flush=True)
