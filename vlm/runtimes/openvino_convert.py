"""From a checkpoint folder to OpenVINO's files: a program of its own, run once for a checkpoint.

`python -m vlm.runtimes.openvino_convert FOLDER OUT` fills the folder OUT and says on
its standard output how far it is. It ends when its standard input does, so that it never outlives
the process that wants the files; torch and its memory go with it.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from vlm.runtimes.openvino_here import import_openvino
from vlm.runtimes.openvino_process import FAILED, NOT_WRITTEN, PROGRESS


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vlm.runtimes.openvino_convert")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="checkpoint to convert")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to fill")
    parser.add_argument("--int8-text", action="store_true", help="text weights in int8")
    parser.add_argument("--int8-vision", action="store_true", help="vision weights in int8")
    parser.add_argument("--bfloat16-vision", action="store_true", help="vision in bfloat16")
    arguments = parser.parse_args(argv)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    # Tracing warns of every shape that it takes for a constant; those of a tile are constant.
    warnings.filterwarnings("ignore")
    try:
        import_openvino()
        import torch

        from vlm.checkpoint_loading import load_model
        from vlm.runtimes.openvino_export import save

        _say(PROGRESS, "loading the checkpoint")
        model = load_model(arguments.folder, torch.float32, "cpu")
        with torch.no_grad():
            save(
                model,
                arguments.out,
                int8_text=arguments.int8_text,
                int8_vision=arguments.int8_vision,
                bfloat16_vision=arguments.bfloat16_vision,
                report=lambda text: _say(PROGRESS, text),
            )
    except OSError as error:
        _say(NOT_WRITTEN, error.strerror or str(error))
        return 1
    except Exception as error:
        _say(FAILED, (str(error).strip() or type(error).__name__).splitlines()[0])
        return 1
    return 0


def _end_with_standard_input() -> None:
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def _say(kind: str, text: str) -> None:
    print(f"{kind}{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
