"""Votes and text belong to one camera, and a frame is read only after a change."""

from __future__ import annotations

import pytest
from PIL import Image

from photographs import photograph
from vlm.finder.cameras import MAX_CAMERAS, Cameras
from vlm.finder.sentence import FirstLine, Name

GREY = Image.new("RGB", (320, 240), (120, 120, 120))


def with_square(image: Image.Image) -> Image.Image:
    """Return a copy with a dark square in the middle: the same scene, changed."""
    changed = image.copy()
    changed.paste((20, 20, 20), (140, 100, 180, 140))
    return changed


def line_of(*names: str) -> FirstLine:
    return FirstLine(None, tuple(Name(name, f"a {name}", 0.2) for name in names))


def names_of(line: FirstLine) -> list[str]:
    return [name.name for name in line.names]


def test_a_frame_is_read_if_it_changed_and_no_other_is_being_read() -> None:
    cameras = Cameras()
    assert cameras.texts("a", GREY) == ((), True)
    # The first one is still being read.
    assert cameras.texts("a", with_square(GREY)) == ((), False)
    cameras.have_read("a", ("EXIT",))
    assert cameras.texts("a", GREY) == (("EXIT",), False)
    assert cameras.texts("a", with_square(GREY)) == (("EXIT",), True)
    # It was not read after all, so the next one is.
    cameras.have_read("a", None)
    assert cameras.texts("a", with_square(GREY)) == (("EXIT",), True)


def test_another_scene_drops_what_was_seen_before() -> None:
    cameras = Cameras()
    cameras.texts("a", GREY)
    cameras.have_read("a", ("EXIT",))
    assert names_of(cameras.vote("a", line_of("cup"))) == ["cup"]
    # In the same scene a new name needs a second frame, and the old one stays.
    cameras.texts("a", with_square(GREY))
    assert names_of(cameras.vote("a", line_of("dog"))) == ["cup"]
    cameras.have_read("a", ("EXIT",))
    assert cameras.texts("a", photograph("coffee")) == ((), True)
    assert names_of(cameras.vote("a", line_of("coffee"))) == ["coffee"]


def test_text_of_a_scene_that_has_gone_is_dropped() -> None:
    cameras = Cameras()
    cameras.texts("a", GREY)
    cameras.texts("a", photograph("coffee"))
    cameras.have_read("a", ("EXIT",))
    assert cameras.texts("a", photograph("coffee")) == ((), True)


def test_cameras_are_apart_and_the_oldest_are_evicted() -> None:
    cameras = Cameras()
    for number in range(MAX_CAMERAS + 3):
        cameras.vote(f"camera-{number}", line_of("cup"))
    assert len(cameras) == MAX_CAMERAS
    # An evicted camera begins anew; a kept one has its votes.
    assert names_of(cameras.vote("camera-0", line_of("dog"))) == ["dog"]
    assert names_of(cameras.vote(f"camera-{MAX_CAMERAS}", line_of("dog"))) == ["cup"]


@pytest.mark.parametrize("size", [(1, 1), (2048, 3), (3, 2048)])
def test_frames_of_any_shape_are_compared(size: tuple[int, int]) -> None:
    cameras = Cameras()
    frame = Image.new("RGB", size)
    assert cameras.texts("a", frame) == ((), True)
    cameras.have_read("a", ())
    assert cameras.texts("a", frame) == ((), False)
