"""The training command: killed, stopped, extended, started from a checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tools.nano import train as training
from tools.nano.trainer import STATE_NAME, Trainer
from vlm.checkpoints.files import check_folder
from vlm.models.loading import load_engine
from vlm.results import Result
from vlm.settings import Settings
from vlm.types import Request

ROOT = Path(__file__).resolve().parents[3]
HERE = ["--workers", "0", "--threads", "1", "--no-evaluation"]
TINY = ["--batch", "2", "--questions", "2", "--encoder-images", "2"]
# Only keeps a broken test from hanging.
PATIENCE_S = 240


def flags(folder: Path, init: Path, images: int) -> list[str]:
    """The flags of a tiny run in `folder` from the checkpoint `init`."""
    places = ["--work", str(folder / "work"), "--out", str(folder / "out"), "--init", str(init)]
    return [*TINY, *HERE, *places, "--images", str(images), "--save-every-s", "0"]


def seen_in(folder: Path) -> int:
    """The number of images that the saved state of a run has seen."""
    state = torch.load(folder / "work" / STATE_NAME, weights_only=True)
    assert isinstance(state["seen"], int)
    return state["seen"]


def test_killed_run_resumes_from_its_last_state(nano_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.nano.train", *flags(tmp_path, nano_dir, 10_000)]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "work" / STATE_NAME).exists() and time.monotonic() < deadline:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    seen = seen_in(tmp_path)
    assert seen >= 2
    assert not (tmp_path / "out").exists()

    training.main(flags(tmp_path, nano_dir, seen + 2))
    assert seen_in(tmp_path) == seen + 2
    check_folder(tmp_path / "out")


def test_ctrl_c_saves_the_state_and_more_images_resume_it(
    nano_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = Trainer.step

    def step_then_ctrl_c(self: Trainer, batch: Any) -> Any:
        found = step(self, batch)
        if self.seen == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return found

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Trainer, "step", step_then_ctrl_c)
    with pytest.raises(SystemExit) as stopped:
        training.main([*flags(tmp_path, nano_dir, 8), "--save-every-s", "9999"])
    assert stopped.value.code == training.STOPPED_EXIT_CODE
    assert "Stopped after 4 images" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    assert seen_in(tmp_path) == 4
    assert not (tmp_path / "out").exists()

    for images in (6, 6, 8):
        # Without the flags of TINY: the saved plan is kept except for --images.
        training.main(flags(tmp_path, nano_dir, images)[len(TINY) :])
        assert seen_in(tmp_path) == images


def test_run_shows_progress_and_exports_a_checkpoint(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.main(flags(tmp_path, nano_dir, 2))
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss=" in shown
    assert "images" in shown
    assert "<" in shown
    exported = tmp_path / "out"
    assert "sightline" not in (exported / "config.json").read_text(encoding="utf-8")
    assert "local_files_only" not in (exported / "tokenizer_config.json").read_text(
        encoding="utf-8"
    )
    engine = load_engine(Settings(model=str(exported), device="cpu", runtime="torch"))
    items = list(engine.stream(Request.about(Image.new("RGB", (192, 144)), "What is this?", 2)))
    assert isinstance(items[-1], Result)


def test_second_run_in_the_same_folder_is_refused(nano_dir: Path, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no fcntl")
    holding = (
        "import fcntl, sys\n"
        "lock = open(sys.argv[1], 'w')\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "work").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path / "work" / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SystemExit, match="another run"):
            training.main(flags(tmp_path, nano_dir, 2))


def copy_without(folder: Path, copy: Path, name: str) -> Path:
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    return copy


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_incomplete_init_is_refused_by_the_missing_file(
    nano_dir: Path, tmp_path: Path, name: str
) -> None:
    init = copy_without(nano_dir, tmp_path / "init", name)
    with pytest.raises(SystemExit, match=name):
        training.main(flags(tmp_path, init, 2))
    assert not (init / name).exists()
    assert not (tmp_path / "out").exists()


def test_init_of_another_class_is_refused_by_its_name(nano_dir: Path, tmp_path: Path) -> None:
    init = tmp_path / "init"
    shutil.copytree(nano_dir, init)
    config = json.loads((init / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["LlavaForConditionalGeneration"]
    (init / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SystemExit, match="LlavaForConditionalGeneration"):
        training.main(flags(tmp_path, init, 2))


def test_init_with_other_frames_is_refused(
    nano_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = SimpleNamespace(image_size=512, patch_size=16)
    other = SimpleNamespace(config=SimpleNamespace(vision_config=vision, scale_factor=4))
    monkeypatch.setattr(training, "load_model", lambda *_: other)
    with pytest.raises(SystemExit, match=r"\(512, 16, 4\)"):
        training.main(flags(tmp_path, nano_dir, 2))


def test_init_provides_weights_and_tokenizer(nano_dir: Path, tmp_path: Path) -> None:
    arguments = training._parser().parse_args(flags(tmp_path, nano_dir, 2))
    arguments.work.mkdir(parents=True)
    trainer, processor = training._start(arguments, {"images": 2, "batch": 2})
    initial = training.load_model(nano_dir, torch.float32, "cpu").state_dict()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, initial[name]), name
    assert processor.tokenizer.get_vocab() == (
        training.load_processor(nano_dir).tokenizer.get_vocab()
    )
    assert trainer.seen == 0
