#!/usr/bin/env bash
# OpenVINO 2026.4.1 leaves a thread with a stack for signal handlers that is no longer mapped.
#
# Guess before the run: compiling and releasing a model leaves the state of the thread as it was. Not documented.
#
# Seen: the CPU plugin of each `Core` gives the calling thread an alternate stack (sigaltstack) and, when the plugin is released, puts back
# the one it found. That is right only if cores are released in the reverse order and by the same thread. Two cores released in the order in
# which they were made, or one released by another thread, leave the thread with the address of a stack that was unmapped. Linux only.
# Consequence: CPython's own handler of SIGINT runs on the alternate stack, so the next Ctrl+C cannot be delivered and the process ends with a
# segmentation fault instead of KeyboardInterrupt. This script only looks at the address; it sends no signal.
#
# Output seen with the versions pinned below:
#   two cores, released first made first: stack not mapped
#   one core, released by another thread: stack not mapped
#   one core, kept: stack mapped
#
# Installs in a temporary folder; exits with 1 if the behaviour differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'openvino==2026.4.1' 'numpy==2.4.6' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
import gc
import sys
import threading

import numpy as np
import openvino
from openvino import opset13


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def is_mapped() -> bool:
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    for line in open("/proc/self/maps"):
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= stack.address and stack.address + stack.size <= end:
            return True
    return False


def compiled():
    numbers = opset13.parameter([1, 4], np.float32)
    return openvino.Core().compile_model(openvino.Model([opset13.relu(numbers)], [numbers], "relu"), "CPU")


def told(what: str) -> bool:
    gc.collect()
    mapped = is_mapped()
    print(f"{what}: stack {'mapped' if mapped else 'not mapped'}")
    return mapped


first = compiled()
second = compiled()
del first
del second
in_order = told("two cores, released first made first")

models = [compiled()]
thread = threading.Thread(target=models.clear)
thread.start()
thread.join()
elsewhere = told("one core, released by another thread")

kept = compiled()
alone = told("one core, kept")
sys.exit(0 if (in_order, elsewhere, alone) == (False, False, True) else 1)
PYTHON
