"""A recorded clip is watched as the page would watch it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tools.bench.as_page import HEARTBEAT_S, INTERVAL_S
from tools.bench.clip import Clip, DrawnClip, open_clip
from tools.bench.gate import has_changed, thumbnail_of
from tools.bench.live import LiveRun, watch
from tools.bench.pictures import drawn_scene, noisy
from tools.bench.spread import percentile, spread
from vlm.engine.engine import Engine
from vlm.errors import SettingsError
from vlm.prompts import DEFAULT_PROMPT

FPS = 10.0


class Scenes:
    """A clip of so many frames of each scene, all with noise of their own."""

    def __init__(self, *frames: int) -> None:
        self._frames = [(drawn_scene(i), count) for i, count in enumerate(frames)]

    def __len__(self) -> int:
        return sum(count for _, count in self._frames)

    def picture(self, index: int) -> Image.Image:
        starts = itertools.accumulate((count for _, count in self._frames), initial=0)
        scenes = zip(self._frames, starts, strict=False)
        scene = [scene for (scene, _), start in scenes if start <= index][-1]
        return noisy(scene, index)


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on by `step_s` whenever it is asked."""
    return itertools.count(0.0, step_s).__next__


def watched(engine: Engine, clip: Clip, step_s: float = 1e-4) -> LiveRun:
    return watch(engine, clip, FPS, DEFAULT_PROMPT, 24, lambda _: None, ticking(step_s))


def jpeg(colour: str, preview: bytes = b"") -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    if preview:
        exif[0x9286] = preview
    Image.new("RGB", (40, 30), colour).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_a_still_clip_is_captioned_once_and_every_other_look_is_skipped(engine: Engine) -> None:
    run = watched(engine, Scenes(90))
    assert len(run.captions) == 1
    assert run.looks == 9 / INTERVAL_S
    assert run.skipped == run.looks - 1


def test_a_still_clip_is_captioned_anew_at_every_heartbeat(engine: Engine) -> None:
    run = watched(engine, Scenes(250))
    assert [each.taken_at_s for each in run.captions] == [0, HEARTBEAT_S, 2 * HEARTBEAT_S]


def test_every_new_scene_is_captioned(engine: Engine) -> None:
    run = watched(engine, Scenes(30, 30, 30))
    assert [each.taken_at_s for each in run.captions] == [0, 3, 6]
    assert len({each.done.text for each in run.captions}) > 1


def test_the_newest_frame_is_taken_once_the_engine_is_free(engine: Engine) -> None:
    # Slower than scenes change: those that come and go meanwhile are never seen.
    run = watched(engine, Scenes(*[5] * 8), step_s=0.2)
    ends = [each.taken_at_s + each.caption_s for each in run.captions]
    assert len(run.captions) > 1
    assert [each.taken_at_s for each in run.captions[1:]] == ends[:-1]
    assert run.skipped == 0


def test_the_figures_follow_from_the_captions(engine: Engine) -> None:
    run = watched(engine, Scenes(250), step_s=0.01)
    figures = run.figures()
    assert figures["captions_per_min"] == 60 * 3 / 25
    assert figures["skipped"] == figures["looks"] - 3
    assert figures["first_word_p50_s"] == pytest.approx(0.01)
    counts = [each.done.stats for each in run.captions]
    drafted = sum(stats.drafted for stats in counts)
    assert figures["accepted_share"] == sum(stats.accepted for stats in counts) / drafted


def test_a_clip_without_captions_has_no_latency() -> None:
    figures = LiveRun(clip_s=1.0, frames=10).figures()
    assert figures["first_word_p95_s"] is None
    assert figures["accepted_share"] is None


def test_jpegs_one_after_another_are_told_apart(tmp_path: Path) -> None:
    # A preview inside a JPEG's headers is a JPEG too, and no frame.
    frames = [jpeg("red"), jpeg("lime", preview=jpeg("white")), jpeg("blue")]
    file = tmp_path / "clip.mjpeg"
    file.write_bytes(b"".join(frames))
    clip = open_clip(str(file), FPS)
    assert len(clip) == 3
    colours = [clip.picture(index).getpixel((20, 15)) for index in range(3)]
    assert [max(range(3), key=colour.__getitem__) for colour in colours] == [0, 1, 2]


def test_a_last_frame_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "clip.mjpeg"
    file.write_bytes(jpeg("red") + jpeg("blue")[:-9])
    assert len(open_clip(str(file), FPS)) == 1


def test_a_folder_of_pictures_is_a_clip_in_the_order_of_names(tmp_path: Path) -> None:
    for name, colour in (("2.jpg", "blue"), ("1.PNG", "red"), ("notes.txt", "white")):
        Image.new("RGB", (8, 8), colour).save(
            tmp_path / name, "PNG" if colour != "blue" else "JPEG"
        )
    clip = open_clip(str(tmp_path), FPS)
    assert len(clip) == 2
    assert clip.picture(0).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x18ftypmp42" + bytes(99), b"RIFF\0\0\0\0AVI "])
def test_a_video_of_another_format_is_refused_with_a_way_on(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="ffmpeg"):
        open_clip(str(file), FPS)


def test_clips_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--video"):
        open_clip(str(tmp_path), FPS)
    with pytest.raises(SettingsError, match="--video"):
        open_clip(str(tmp_path / "none.mjpeg"), FPS)


def test_the_drawn_clip_shows_each_scene_for_a_while() -> None:
    clip = DrawnClip(fps=0.5)
    first, again, other = (clip.picture(index) for index in range(3))
    assert len(clip) == 20
    assert first.tobytes() != again.tobytes()
    # One frame of a scene differs from the next by a sensor's noise alone.
    assert difference(first, again) < 5 < difference(first, other)


def test_a_camera_that_is_held_by_hand_sees_change_all_the_time() -> None:
    clip = DrawnClip(FPS)
    standing, held = ([thumbnail_of(clip.picture(i)) for i in (at, at + 5)] for at in (10, 50))
    assert not has_changed(*standing)
    assert has_changed(*held)


def difference(one: Image.Image, other: Image.Image) -> float:
    pixels = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pixels) / len(one.tobytes())


def test_percentiles_lie_between_the_closest_values() -> None:
    values = [0.4, 0.1, 0.3, 0.2, 0.5]
    assert percentile(values, 0.5) == 0.3
    assert percentile(values, 0.95) == pytest.approx(0.48)
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([], 0.5) is None


def test_a_spread_is_least_median_and_most() -> None:
    assert spread([3.0, 1.0, 2.0, 8.0]) == {"min": 1.0, "median": 2.5, "max": 8.0}
    assert spread([]) is None
