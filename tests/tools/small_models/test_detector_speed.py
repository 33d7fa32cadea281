"""The measurement of the bundled detector; its times are not asserted on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from PIL import Image

from tools.small_models.detector_speed import Beside, main, time_frames
from vlm.results import Box

IMAGES = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]


def test_each_set_up_is_timed() -> None:
    times = time_frames(IMAGES, 1)
    assert set(times) == {"1 x f32", "1 x bf16", "2 x f32", "2 x bf16"}
    for figures in times.values():
        assert 0 < figures["best"] <= figures["median"]


def test_detections_beside_run_only_while_switched_on() -> None:
    detected = threading.Event()

    class Noting:
        name = "noting"
        classes = ("cup",)

        def detect(self, image: Image.Image, phrases: Sequence[str] = ()) -> list[Box]:
            detected.set()
            return []

    beside = Beside(Noting(), IMAGES)
    assert beside.frames == 0
    beside.switch(True)
    assert detected.wait(10)
    beside.close()
    assert beside.frames >= 1


def test_a_model_that_is_not_here_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "someone/unknown"]) == 1
    assert "someone/unknown is not on this machine" in capsys.readouterr().err
