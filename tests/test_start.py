"""The imports of a start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_start_imports_no_slow_package() -> None:
    code = (
        "import sys, app, vlm.engine.engine, vlm.scheduler.worker, tools.bench.__main__\n"
        "late = {'torch', 'transformers', 'openvino', 'accelerate', 'pydantic',\n"
        " 'cv2', 'rapidocr'}\n"
        "heavy = late & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
