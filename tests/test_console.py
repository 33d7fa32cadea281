"""Consoles that lack letters, and programs without one."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from checkpoint_copy import copy_checkpoint
from vlm.console import make_consoles_safe
from web_client import SightlineProcess, ask

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_a_letter_that_the_console_lacks_ends_no_thread(
    nano_dir: Path, tmp_path: Path, encoding: str
) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "\u732b")
    env = {"PYTHONIOENCODING": f"{encoding}:strict"}
    args = ["--model", str(folder), "--device", "cpu", "--runtime", "torch"]
    with SightlineProcess(args, env) as sightline:
        ready = sightline.wait_for_line("Ready:")
        assert "captions by ?" in ready
        body = b'{"model": "nano"}'
        assert ask(sightline.port, "POST", "/api/models/switch", body, JSON)[0] == 202
        assert "captions by nano" in sightline.wait_for_line("From here on")


def test_a_program_without_streams_gets_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    make_consoles_safe()
    print("\u732b")
    print("\u732b", file=sys.stderr)
    sys.stdout.close()
