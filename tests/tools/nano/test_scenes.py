"""The drawn frames: deterministic, of all kinds that are taught, with true ground truth."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tools.nano import lettering
from tools.nano.backgrounds import BACKGROUNDS
from tools.nano.palette import COLOURS
from tools.nano.scenes import Frame, Split, light_of, make_frame
from tools.nano.shapes import PATTERNS, SHAPES, patterns_of
from tools.nano.truth import MAX_OBJECTS, SIZES, Kind

ROOT = Path(__file__).resolve().parents[3]
SEEDS = range(8)
KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[Split, ...] = get_args(Split)
HIDDEN: tuple[Kind, ...] = ("covered", "dark", "glare", "blur")


def digest(frame: Frame) -> str:
    parts = [frame.image.tobytes(), str(frame.scene).encode()]
    parts += [labels.tobytes() for labels in vars(frame.labels).values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_frames_are_equal_in_all_processes_and_need_no_model_package() -> None:
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/tools/nano']\n"
        "from test_scenes import SEEDS, digest, make_frame\n"
        "for seed in SEEDS: print(digest(make_frame(seed)))\n"
        "sys.exit(str({'torch', 'transformers'} & set(sys.modules)).replace('set()', ''))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert done.stdout.split() == [digest(make_frame(seed)) for seed in SEEDS]


def test_frames_differ_within_and_between_splits() -> None:
    pictures = {make_frame(seed, split).image.tobytes() for seed in SEEDS for split in SPLITS}
    assert len(pictures) == len(SEEDS) * len(SPLITS)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_can_be_chosen(kind: Kind) -> None:
    scene = make_frame(3, "test", kind).scene
    assert scene.kind == kind
    assert bool(scene.objects) == (kind == "objects") or kind == "words"
    assert (scene.text is not None) == (kind == "words")


def test_mix_contains_all_that_is_taught(mixed_frames: list[Frame]) -> None:
    scenes = [frame.scene for frame in mixed_frames]
    objects = [item for scene in scenes for item in scene.objects]
    assert {scene.kind for scene in scenes} == set(KINDS)
    assert {item.shape for item in objects} == set(SHAPES)
    assert {item.colour for item in objects} == set(COLOURS)
    assert {item.size for item in objects} == set(SIZES)
    assert {item.pattern for item in objects} == set(PATTERNS)
    assert {scene.background for scene in scenes} == {*BACKGROUNDS, ""}
    assert {scene.light for scene in scenes} == {"dim", "normal", "bright"}
    assert {len(scene.objects) for scene in scenes} == set(range(MAX_OBJECTS + 1))


def test_mix_is_mostly_taught_scenes(mixed_frames: list[Frame]) -> None:
    kinds = Counter(frame.scene.kind for frame in mixed_frames)
    assert kinds["objects"] > len(mixed_frames) * 0.45
    assert kinds["words"] > len(mixed_frames) * 0.12
    assert kinds["unfamiliar"] > len(mixed_frames) * 0.07


def test_all_typefaces_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()
    original = lettering._font

    def spy(typeface: int, size_px: int) -> Any:
        used.add(typeface)
        return original(typeface, size_px)

    monkeypatch.setattr(lettering, "_font", spy)
    for seed in range(40):
        make_frame(seed, "train", "words")
    assert used == set(range(len(lettering.TYPEFACES)))


def test_texts_are_words_letters_and_numbers_of_bounded_length() -> None:
    rng = np.random.default_rng(0)
    texts = [lettering.sample_text(rng) for _ in range(500)]
    assert all(1 <= len(text) <= lettering.MAX_LETTERS for text in texts)
    assert all(set(text) <= set(lettering.LETTERS) for text in texts)
    assert all(text.isdigit() or text.isalpha() for text in texts)
    assert any(text.isdigit() for text in texts)
    assert any(text in lettering.WORDS for text in texts)
    assert any(text.isalpha() and text not in lettering.WORDS for text in texts)
    assert {letter for text in texts for letter in text} == set(lettering.LETTERS)


def test_positions_are_inside_the_frame(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        for item in (*scene.objects, *([scene.text] if scene.text else [])):
            assert 0 < item.x < 1
            assert 0 < item.y < 1


def test_objects_do_not_overlap(mixed_frames: list[Frame]) -> None:
    pairs = 0
    for frame in mixed_frames:
        size_px = np.array(frame.image.size)
        for one, other in itertools.combinations(frame.scene.objects, 2):
            apart_px = np.hypot(*((one.x - other.x, one.y - other.y) * size_px))
            # The camera's zoom scales distances by up to 5 %.
            radii_px = (SIZES[one.size][0] + SIZES[other.size][0]) * size_px.min() * 0.95
            assert apart_px > radii_px
            pairs += 1
    assert pairs > 100


def test_objects_have_patterns_of_their_shape(mixed_frames: list[Frame]) -> None:
    for item in (item for frame in mixed_frames for item in frame.scene.objects):
        assert item.pattern in patterns_of(item.shape)


def test_frames_without_taught_content_have_no_objects(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        if scene.kind in (*HIDDEN, "empty", "unfamiliar"):
            assert scene.objects == ()
            assert scene.text is None
        assert 1 <= len(scene.colours) <= 2


def test_brightness_agrees_with_the_kind() -> None:
    def means(kind: Kind) -> list[float]:
        return [float(np.asarray(make_frame(seed, "train", kind).image).mean()) for seed in SEEDS]

    assert max(means("covered")) < 60
    assert max(means("dark")) < 45
    assert min(means("objects")) > 25
    assert np.mean(means("glare")) > np.mean(means("objects"))


def test_light_follows_the_brightness() -> None:
    frame = make_frame(0, "train", "objects").image
    assert light_of(frame.point(lambda value: value // 8)) == "dim"
    assert light_of(frame.point(lambda value: 200 + value // 8)) == "bright"
