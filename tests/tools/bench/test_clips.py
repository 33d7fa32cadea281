"""Recorded clips: how they are read, and that they are captioned as the page captions a camera."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tools.bench.frames import Clip, DrawnClip, drawn_scene, noisy, open_clip
from tools.bench.live import LiveRun, watch
from vlm.engine.engine import Engine
from vlm.errors import SettingsError
from vlm.images.change import HEARTBEAT_S, INTERVAL_S, has_changed, thumbnail_of
from vlm.prompts import DEFAULT_PROMPT

FPS = 10.0


class Scenes:
    """A clip with the given number of frames of each scene, each frame with its own noise."""

    def __init__(self, *frames: int) -> None:
        self._frames = [(drawn_scene(i), count) for i, count in enumerate(frames)]

    def __len__(self) -> int:
        return sum(count for _, count in self._frames)

    def damage(self) -> None:
        pass

    def picture(self, index: int) -> Image.Image:
        starts = itertools.accumulate((count for _, count in self._frames), initial=0)
        scenes = zip(self._frames, starts, strict=False)
        scene = [scene for (scene, _), start in scenes if start <= index][-1]
        return noisy(scene, index)


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that advances by `step_s` at each call."""
    return itertools.count(0.0, step_s).__next__


def watched(engine: Engine, clip: Clip, step_s: float = 1e-4) -> LiveRun:
    return watch(engine, clip, FPS, DEFAULT_PROMPT, 24, lambda _: None, ticking(step_s))


@pytest.fixture(scope="module")
def still(engine: Engine) -> LiveRun:
    """25 seconds of one scene; the first event of each caption arrives after 0.01 s."""
    return watched(engine, Scenes(250), step_s=0.01)


def jpeg(colour: str, preview: bytes = b"") -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    if preview:
        exif[0x9286] = preview
    Image.new("RGB", (40, 30), colour).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_still_clip_is_captioned_at_heartbeats_only(still: LiveRun) -> None:
    sent_s = [each.captured_at_s for each in still.captions]
    assert sent_s == [0, HEARTBEAT_S, 2 * HEARTBEAT_S]
    assert still.looks == 25 / INTERVAL_S
    assert still.skipped == still.looks - 3


def test_figures_follow_from_the_captions(still: LiveRun) -> None:
    figures = still.figures()
    assert figures["captions_per_min"] == 60 * 3 / 25
    assert figures["skipped"] == figures["looks"] - 3
    assert figures["first_word_p50_s"] == pytest.approx(0.01)
    counts = [each.caption.stats for each in still.captions]
    drafted = sum(stats.drafted for stats in counts)
    assert figures["accepted_share"] == sum(stats.accepted for stats in counts) / drafted
    empty = LiveRun(clip_s=1.0, frames=10).figures()
    assert empty["first_word_p95_s"] is None
    assert empty["accepted_share"] is None


def test_each_new_scene_is_captioned(engine: Engine) -> None:
    run = watched(engine, Scenes(30, 30, 30))
    assert [each.captured_at_s for each in run.captions] == [0, 3, 6]
    assert len({each.caption.text for each in run.captions}) > 1


def test_busy_engine_gets_the_newest_frame_next(engine: Engine) -> None:
    # Captions take longer than scenes: the scenes in between are never sent.
    run = watched(engine, Scenes(*[5] * 8), step_s=0.2)
    ends = [each.ended_at_s for each in run.captions]
    assert len(run.captions) > 1
    assert [each.captured_at_s for each in run.captions[1:]] == ends[:-1]
    assert run.skipped == 0


RED, LIME, BLUE = range(3)
TORN = jpeg("red")[:-9]
NO_END = jpeg("red")[:-2]


@pytest.mark.parametrize(
    ("parts", "colours", "damage"),
    [
        # A preview in a JPEG's headers is a JPEG too, but no frame.
        ([jpeg("red"), jpeg("lime", preview=jpeg("white")), jpeg("blue")], [RED, LIME, BLUE], None),
        ([jpeg("red"), b"\0", jpeg("lime"), b"\r\n\r\n", jpeg("blue")], [RED, LIME, BLUE], None),
        ([b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", jpeg("lime")], [LIME], None),
        ([NO_END, jpeg("lime"), NO_END], [RED, LIME, RED], None),
        ([jpeg("blue"), TORN, TORN, jpeg("lime")], [BLUE, BLUE, BLUE, LIME], "2 damaged frames"),
        ([TORN, jpeg("lime"), jpeg("blue")], [LIME, LIME, BLUE], "1 damaged frame "),
        ([jpeg("lime"), TORN], [LIME, LIME], "1 damaged frame "),
    ],
)
def test_file_of_jpegs_gives_a_frame_for_each(
    tmp_path: Path, parts: list[bytes], colours: list[int], damage: str | None
) -> None:
    file = tmp_path / "clip.mjpeg"
    file.write_bytes(b"".join(parts))
    clip = open_clip(str(file), FPS)
    pixels = [clip.picture(index).getpixel((20, 15)) for index in range(len(clip))]
    assert [max(range(3), key=pixel.__getitem__) for pixel in pixels] == colours
    assert (clip.damage() or "").startswith(damage or "") and bool(clip.damage()) == bool(damage)


def test_folder_of_pictures_is_a_clip_sorted_by_name(tmp_path: Path) -> None:
    for name, colour in (("2.jpg", "blue"), ("1.PNG", "red"), ("notes.txt", "white")):
        Image.new("RGB", (8, 8), colour).save(
            tmp_path / name, "PNG" if colour != "blue" else "JPEG"
        )
    clip = open_clip(str(tmp_path), FPS)
    assert len(clip) == 2
    assert clip.picture(0).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clip.mp4", b"", rf'-vf "fps={FPS:g},scale=out_color_matrix=bt601:out_range=full"'),
        ("clip.mp4", b"\0\0\0\x18ftypmp42" + bytes(99), "ffmpeg"),
        ("clip.mp4", b"RIFF\0\0\0\0AVI ", "ffmpeg"),
        ("clip.mjpeg", TORN * 2, "all 2 JPEGs of .* are damaged"),
        ("none.mjpeg", None, "--video: .* cannot be read"),
        ("", None, "--video: there is no picture"),
    ],
)
def test_unusable_clip_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        open_clip(str(file), FPS)


def test_drawn_clip_shows_each_scene_for_a_while() -> None:
    clip = DrawnClip(fps=0.5)
    first, again, other = (clip.picture(index) for index in range(3))
    assert len(clip) == 20
    assert first.tobytes() != again.tobytes()
    # Frames of one scene differ by sensor noise alone.
    assert difference(first, again) < 5 < difference(first, other)


def test_hand_held_camera_changes_all_the_time() -> None:
    clip = DrawnClip(FPS)
    standing, held = ([thumbnail_of(clip.picture(i)) for i in (at, at + 5)] for at in (10, 50))
    assert not has_changed(*standing)
    assert has_changed(*held)


def difference(one: Image.Image, other: Image.Image) -> float:
    pixels = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pixels) / len(one.tobytes())
