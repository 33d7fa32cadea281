"""Patch labels: what the frame shows in each patch, ignored if that is unclear."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tools.nano.camera import View
from tools.nano.compose import FIRST_LETTER_ID, Canvas
from tools.nano.lettering import LETTERS
from tools.nano.palette import COLOURS
from tools.nano.patch_labels import IGNORED, PatchLabels, label_patches
from tools.nano.scenes import Frame, make_frame
from tools.nano.shapes import PATTERNS, SHAPES
from tools.nano.truth import (
    FRAME_SIDE_PX,
    PATCH_GRID,
    PATCH_PX,
    SIZES,
    Kind,
    SceneObject,
    SceneText,
)

# Shapes whose centre is well inside them.
FILLED_AT_CENTRE = ("circle", "square", "triangle", "star", "heart", "cross", "diamond")
SIZE_PX = (FRAME_SIDE_PX, FRAME_SIDE_PX)


def maps_of(labels: PatchLabels) -> list[np.ndarray]:
    return list(vars(labels).values())


def labels_at(labels: PatchLabels, x: float, y: float) -> tuple[int, int, int, int]:
    at = int(y * PATCH_GRID), int(x * PATCH_GRID)
    return (
        int(labels.shape[at]), int(labels.colour[at]), int(labels.size[at]), int(labels.pattern[at])
    )  # fmt: skip


def test_patch_at_an_objects_centre_has_its_labels(mixed_frames: list[Frame]) -> None:
    checked = 0
    for frame in mixed_frames:
        for item in frame.scene.objects:
            if item.shape in FILLED_AT_CENTRE:
                assert labels_at(frame.labels, item.x, item.y) == (
                    SHAPES.index(item.shape) + 1,
                    COLOURS.index(item.colour) + 1,
                    list(SIZES).index(item.size) + 1,
                    PATTERNS.index(item.pattern) + 1,
                )
                checked += 1
    assert checked > 100


def test_labels_agree_with_the_ground_truth(mixed_frames: list[Frame]) -> None:
    for frame in mixed_frames:
        scene, labels = frame.scene, frame.labels
        text = scene.text.text if scene.text else ""
        colours = {item.colour for item in scene.objects}
        colours |= {scene.text.colour} if scene.text else set()
        assert named(labels.shape, SHAPES) == {item.shape for item in scene.objects}
        assert named(labels.colour, COLOURS) == colours
        assert named(labels.letter, LETTERS) <= set(text)


def named(labels: np.ndarray, vocabulary: tuple[str, ...] | str) -> set[str]:
    return {vocabulary[value - 1] for value in np.unique(labels) if value > 0}


def test_nearly_all_letters_have_a_patch() -> None:
    letters = found = 0
    for seed in range(40):
        frame = make_frame(seed, "train", "words")
        assert frame.scene.text is not None
        wanted = set(frame.scene.text.text)
        letters += len(wanted)
        found += len(wanted & named(frame.labels.letter, LETTERS))
    assert found >= 0.97 * letters


@pytest.mark.parametrize("kind", ["unfamiliar", "empty", "covered"])
def test_frames_without_objects_are_all_background(kind: Kind) -> None:
    for labels in maps_of(make_frame(1, "train", kind).labels):
        assert (labels == 0).all()


@pytest.mark.parametrize("kind", ["dark", "glare", "blur"])
def test_hidden_scenes_are_all_ignored(kind: Kind) -> None:
    for labels in maps_of(make_frame(1, "train", kind).labels):
        assert (labels == IGNORED).all()


def canvas_with(ids: np.ndarray) -> Canvas:
    """A canvas whose view does not change it."""
    view = View(SIZE_PX, SIZE_PX, np.eye(3))
    star = SceneObject("star", "red", "small", "dotted", 0.5, 0.5)
    return Canvas(
        Image.new("RGB", SIZE_PX),
        Image.fromarray(ids),
        view,
        objects=[star],
        text=SceneText("AB", "blue", 0.5, 0.5),
    )


def patch_of(row: int, column: int, share: float = 1.0) -> tuple[slice, slice]:
    top, left = row * PATCH_PX, column * PATCH_PX
    return slice(top, top + PATCH_PX), slice(left, left + round(PATCH_PX * share))


def test_patch_is_undecided_if_an_object_barely_covers_it() -> None:
    ids = np.zeros(SIZE_PX, dtype=np.uint8)
    ids[patch_of(2, 5)] = 1
    ids[patch_of(4, 5, share=0.25)] = 1
    rows, columns = patch_of(6, 5)
    ids[rows.start : rows.start + 3, columns.start : columns.start + 9] = 1
    labels = label_patches(canvas_with(ids), "objects")
    assert labels.shape[2, 5] == labels.shape[4, 5] == SHAPES.index("star") + 1
    for each in maps_of(labels):
        assert each[6, 5] == IGNORED
        assert (each == IGNORED).sum() == 1
    assert (labels.shape != 0).sum() == 3


def test_largest_coverage_decides_the_label() -> None:
    ids = np.zeros(SIZE_PX, dtype=np.uint8)
    ids[patch_of(3, 3)] = 1
    ids[patch_of(3, 3, share=0.75)] = FIRST_LETTER_ID + LETTERS.index("B")
    labels = label_patches(canvas_with(ids), "words")
    assert labels.letter[3, 3] == LETTERS.index("B") + 1
    assert labels.colour[3, 3] == COLOURS.index("blue") + 1
    assert labels.shape[3, 3] == 0
