"""The simulated camera: frame sizes, positions, and its effects on pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tools.nano import camera

GREY = Image.new("RGB", (160, 120), (128, 128, 128))
EVEN = (1.0, 1.0)


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_frame_sizes_have_all_aspects_within_bounds() -> None:
    sizes = [camera.sample_frame_size(rng) for rng in rngs(200)]
    shortest, longest = camera.LONGEST_SIDE_PX
    assert all(shortest <= max(size) <= longest for size in sizes)
    nearest = {
        min(camera.ASPECTS, key=lambda aspect: abs(aspect[0] / aspect[1] - width / height))
        for width, height in sizes
    }
    assert nearest == set(camera.ASPECTS)
    assert {width >= height for width, height in sizes} == {True, False}


def test_positions_follow_the_view() -> None:
    for rng in rngs(12):
        frame_size = camera.sample_frame_size(rng)
        canvas_size = camera.canvas_size_for(frame_size)
        view = camera.sample_view(rng, frame_size, canvas_size)
        spot = np.array(canvas_size) * rng.uniform(0.3, 0.7, 2)
        canvas = Image.new("L", canvas_size, 0)
        ImageDraw.Draw(canvas).ellipse((*(spot - 6), *(spot + 6)), fill=255)
        shown = np.asarray(view.warp(canvas, frame_size, Image.Resampling.BILINEAR))
        rows, columns = np.nonzero(shown > 127)
        seen = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / frame_size
        assert view.to_frame(spot[None])[0] == pytest.approx(seen, abs=0.01)


def test_view_stays_on_the_canvas() -> None:
    for rng in rngs(40):
        frame_size = camera.sample_frame_size(rng)
        canvas_size = camera.canvas_size_for(frame_size)
        view = camera.sample_view(rng, frame_size, canvas_size)
        white = Image.new("L", canvas_size, 255)
        shown = np.asarray(view.warp(white, frame_size, Image.Resampling.NEAREST))
        assert (shown == 255).mean() > 0.99


def test_views_differ() -> None:
    matrices = [camera.sample_view(rng, (192, 144), (250, 187)).frame_to_canvas for rng in rngs(5)]
    assert len({matrix.tobytes() for matrix in matrices}) == 5


def test_frames_are_jpegs_of_qualities_40_to_95(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qualities: list[int] = []
    save = Image.Image.save

    def spy(self: Image.Image, file: Any, kind: str, quality: int) -> None:
        assert kind == "JPEG"
        qualities.append(quality)
        save(self, file, kind, quality=quality)

    monkeypatch.setattr(Image.Image, "save", spy)
    frames = [camera.expose(GREY, rng, camera.Light()) for rng in rngs(120)]
    assert len(qualities) == 120
    assert min(qualities) in range(40, 50)
    assert max(qualities) in range(86, 96)
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", GREY.size)}


def deviation(noise: float) -> float:
    light = camera.Light(gain=EVEN, noise=(noise, noise))
    frames = [np.asarray(camera.expose(GREY, rng, light), dtype=float) for rng in rngs(10)]
    # Neighbouring pixels share vignette and colour cast, but not noise.
    return float(np.mean([np.abs(np.diff(frame, axis=1)).mean() for frame in frames]))


def test_sensor_adds_noise() -> None:
    assert deviation(0) < 0.5
    assert deviation(7) > 2


def test_exposure_scales_brightness() -> None:
    def mean(gain: float) -> float:
        light = camera.Light(gain=(gain, gain), noise=(0, 0))
        return float(np.mean([np.asarray(camera.expose(GREY, rng, light)) for rng in rngs(10)]))

    assert mean(0.08) < 20
    assert mean(0.6) < mean(1.0) < mean(1.4)


def test_white_balance_varies_and_corners_are_darker() -> None:
    light = camera.Light(gain=EVEN, noise=(0, 0))
    frames = [np.asarray(camera.expose(GREY, rng, light), dtype=float) for rng in rngs(10)]
    casts = [frame.mean((0, 1)) - frame.mean() for frame in frames]
    assert np.std(casts, axis=0).min() > 1
    corners = np.mean([frame[:8, :8].mean() for frame in frames])
    middles = np.mean([frame[56:64, 76:84].mean() for frame in frames])
    assert middles - corners > 8


def test_defocus_is_relative_to_the_longest_side() -> None:
    edge = Image.new("RGB", (160, 120), (0, 0, 0))
    edge.paste((255, 255, 255), (80, 0, 160, 120))
    light = camera.Light(gain=EVEN, noise=(0, 0))

    def width_px(share: float) -> int:
        row = np.asarray(camera.expose(edge, np.random.default_rng(1), light, share).convert("L"))
        return int(((row[60] > 40) & (row[60] < 200)).sum())

    assert width_px(0.0) < 6 < 12 < width_px(0.05)
