"""Convert a checkpoint for OpenVINO, once, in a process of its own that frees torch's memory.

`python -m vlm.runtimes.openvino.convert FOLDER OUT` fills the folder OUT and prints its progress.
It ends at the end of its standard input, so that it never outlives its parent.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vlm.errors import first_line
from vlm.runtimes.openvino.platform import import_openvino


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vlm.runtimes.openvino.convert")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="checkpoint to convert")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to fill")
    parser.add_argument("--int8-text", action="store_true", help="text weights in int8")
    parser.add_argument("--int4-text", action="store_true", help="text weights in int4")
    parser.add_argument("--int8-vision", action="store_true", help="vision weights in int8")
    parser.add_argument("--bfloat16-vision", action="store_true", help="vision in bfloat16")
    arguments = parser.parse_args(argv)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    # Tracing warns of each shape that becomes a constant; a tile's shapes are constant.
    warnings.filterwarnings("ignore")
    try:
        import_openvino()
        import torch

        from vlm.runtimes.openvino.export import save
        from vlm.runtimes.torch.eager import load_model

        _print(PROGRESS, "loading the checkpoint")
        model = load_model(arguments.folder, torch.float32, "cpu")
        with torch.no_grad():
            save(
                model,
                arguments.out,
                text_bits=4 if arguments.int4_text else 8 if arguments.int8_text else 32,
                int8_vision=arguments.int8_vision,
                bfloat16_vision=arguments.bfloat16_vision,
                report=lambda text: _print(PROGRESS, text),
            )
    except OSError as error:
        _print(NOT_WRITTEN, error.strerror or str(error))
        return 1
    except Exception as error:
        _print(FAILED, first_line(error))
        return 1
    return 0


def _end_with_standard_input() -> None:
    # Not by sys.stdin: its lock would still be held at the interpreter's exit.
    while os.read(0, 1):
        pass
    os._exit(1)


def _print(kind: str, text: str) -> None:
    print(f"{kind}{text}", flush=True)


# Prefixes of the converter's lines on its standard output; libraries may print others.
PROGRESS: Final = "progress: "
FAILED: Final = "failed: "
NOT_WRITTEN: Final = "not written: "

_ROOT: Final = Path(__file__).resolve().parents[3]


class ConversionError(Exception):
    """The checkpoint could not be converted; the message is a reason of one line."""


def convert_in_a_process(
    checkpoint: Path, out: Path, options: list[str], on_progress: Callable[[str], None]
) -> None:
    """Fill the folder `out` from `checkpoint`; `on_progress` receives the current step.

    Raise OSError if `out` cannot be written, else ConversionError.
    """
    command = [sys.executable, "-m", "vlm.runtimes.openvino.convert", str(checkpoint), str(out)]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    problem = ""
    with subprocess.Popen(
        command + options,
        # The converter ends when this pipe is closed.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                text = line.rstrip()
                if text.startswith(PROGRESS):
                    on_progress(text.removeprefix(PROGRESS))
                elif text.startswith((FAILED, NOT_WRITTEN)):
                    problem = text
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    if problem.startswith(NOT_WRITTEN):
        raise OSError(problem.removeprefix(NOT_WRITTEN))
    if process.returncode < 0:
        problem = f"the converter was killed by signal {-process.returncode}; memory may be short"
    raise ConversionError(
        problem.removeprefix(FAILED) or f"the converter ended with code {process.returncode}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
