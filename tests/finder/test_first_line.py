"""The rule that joins detector and classifier, on made evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from evidence_kit import WORDS, box, line, probabilities_of

from vlm.classify.words import Floats
from vlm.finder.first_line import first_line
from vlm.results import Box

Parts = Mapping[str, float]
NOTHING = "Nothing that I know."


@pytest.mark.parametrize(
    ("boxes", "frame", "crop", "sentence"),
    [
        ([], {}, {}, NOTHING),
        ([box("cat", 0.9)], {}, {}, "Perhaps a cat."),
        # A lone box needs 0.65, and less with the classifier's agreement, in frame or crop.
        ([box("cat", 0.6)], {}, {}, NOTHING),
        ([box("cat", 0.45)], {"cat": 0.3}, {}, "Perhaps a cat."),
        ([box("cat", 0.45)], {}, {"cat": 0.3}, "Perhaps a cat."),
        # No agreement helps a box below 0.36.
        ([box("cat", 0.35)], {"cat": 0.4}, {}, "Perhaps a cat."),
        ([box("refrigerator", 0.35)], {}, {"refrigerator": 0.9}, NOTHING),
        # The place helps, too.
        (
            [box("toaster", 0.4)],
            {"stove": 0.3, "refrigerator": 0.3},
            {},
            "Perhaps a kitchen: a toaster.",
        ),
        # ImageNet knows no people and no scissors: 0.5 as it is.
        ([box("person", 0.51)], {}, {}, "Perhaps a person."),
        ([box("person", 0.49)], {"suit": 0.2}, {"suit": 0.9}, NOTHING),
        ([box("scissors", 0.51)], {}, {}, "Perhaps scissors."),
        # A name that is often wrong needs more.
        ([box("kite", 0.74)], {"umbrella": 0.4}, {}, NOTHING),
        # A crumb of the picture does not count.
        ([box("cat", 0.9, side=0.06)], {}, {}, NOTHING),
        # The largest first.
        (
            [box("cat", 0.9, side=0.3), box("dog", 0.8, side=0.5)],
            {},
            {},
            "Perhaps a dog, a cat.",
        ),
    ],
)
def test_boxes_are_named_by_what_supports_them(
    boxes: Sequence[Box], frame: Parts, crop: Parts, sentence: str
) -> None:
    assert line(boxes, frame, crop).sentence == sentence


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (box("person", 0.45, left=0.55), "Perhaps people."),
        (box("person", 0.43, left=0.55), "Perhaps a person."),
        # A box in another one is the same thing.
        (box("person", 0.9, left=0.15, side=0.3), "Perhaps a person."),
    ],
)
def test_a_plural_needs_two_boxes_beside_each_other(second: Box, sentence: str) -> None:
    said = line([box("person", 0.8), second])
    assert said.sentence == sentence
    assert len(said.names[0].boxes) == (2 if sentence == "Perhaps people." else 1)


@pytest.mark.parametrize(
    ("boxes", "frame", "crop", "sentence"),
    [
        # The classifier alone, at its words' thresholds.
        ([], {"umbrella": 0.6}, {}, "Perhaps an umbrella."),
        ([], {"umbrella": 0.4}, {}, NOTHING),
        # Related boxes make it easier.
        ([box("sports ball", 0.3)], {"tennis ball": 0.38}, {}, "Perhaps a tennis ball."),
        # A finer word for an animal replaces the box's; for things the box's name stays.
        ([box("dog", 0.8)], {"poodle": 0.9}, {}, "Perhaps a poodle."),
        ([box("bottle", 0.8)], {"wine bottle": 0.9}, {}, "Perhaps a bottle."),
        # Two animals at once are doubtful.
        ([box("dog", 0.8)], {"rabbit": 0.7}, {}, "Perhaps a dog."),
        # The frame knows it is a computer, not which.
        ([box("laptop", 0.6)], {"computer": 0.6}, {}, "Perhaps a desk: a computer."),
        ([box("laptop", 0.9)], {"computer": 0.6}, {}, "Perhaps a desk: a laptop."),
        # The crop shows another thing than the detector said, and the frame echoes it.
        ([box("airplane", 0.6)], {"seabird": 0.3}, {"seabird": 0.9}, "Perhaps a seabird."),
        ([box("airplane", 0.6)], {}, {"seabird": 0.9}, NOTHING),
        # A thing that makes up the place is not said for itself unless it is likely.
        (
            [box("refrigerator", 0.3)],
            {"stove": 0.4, "refrigerator": 0.3},
            {},
            "Perhaps a kitchen.",
        ),
        ([], {"stove": 0.6, "refrigerator": 0.3}, {}, "Perhaps a kitchen: a stove."),
    ],
)
def test_the_classifier_adds_and_refines_names(
    boxes: Sequence[Box], frame: Parts, crop: Parts, sentence: str
) -> None:
    assert line(boxes, frame, crop).sentence == sentence


def test_each_name_is_said_once_and_four_at_most() -> None:
    names = ["person", "cat", "dog", "cup", "tv", "laptop", "keyboard", "bottle"]
    boxes = [box(name, 0.9, left=0.02 * at, side=0.3) for at, name in enumerate(names)]
    random = np.random.default_rng(0)
    for _ in range(50):
        some = [boxes[at] for at in random.permutation(len(boxes))]
        frame = {WORDS.words[at].name: 0.2 for at in random.integers(0, len(WORDS.words), 4)}
        said = line(some, frame)
        assert len(said.names) == 4
        assert len({name.name for name in said.names}) == 4
        areas = [name.area for name in said.names]
        assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize(
    ("boxes", "frame", "cut_out"),
    [
        # Neither sure enough nor out of reach.
        ([box("cat", 0.5)], {}, ["cat"]),
        # Sure enough alone; out of reach; supported by the frame; unknown to ImageNet.
        ([box("cat", 0.9)], {}, []),
        ([box("airplane", 0.39)], {}, []),
        ([box("cat", 0.5)], {"cat": 0.35}, []),
        ([box("person", 0.4), box("scissors", 0.4)], {}, []),
        # One is there for sure; the crop decides whether the second counts.
        ([box("cat", 0.9), box("cat", 0.5, left=0.55)], {}, ["cat"]),
        # Something is there, perhaps under another name.
        ([box("airplane", 0.45)], {}, ["airplane"]),
        # The three best.
        (
            [box("dog", 0.4), box("bird", 0.5), box("cow", 0.45), box("horse", 0.6)],
            {},
            ["bird", "cow", "horse"],
        ),
    ],
)
def test_a_box_is_cut_out_if_that_can_change_the_line(
    boxes: Sequence[Box], frame: Parts, cut_out: Sequence[str]
) -> None:
    asked: list[str] = []

    def crop(cut: Box) -> Floats:
        asked.append(cut.name)
        return probabilities_of({})

    first_line(boxes, probabilities_of(frame), crop)
    assert sorted(asked) == cut_out


def test_the_order_of_the_boxes_does_not_matter() -> None:
    boxes = [box("cat", 0.9), box("cat", 0.6, left=0.55), box("dog", 0.8, side=0.5)]
    expected = line(boxes).sentence
    assert expected == "Perhaps cats, a dog."
    assert line(boxes[::-1]).sentence == expected


@pytest.mark.parametrize(
    ("boxes", "texts", "sentence"),
    [
        ([], ["EXIT"], "Text: EXIT."),
        ([box("cat", 0.9)], ["EXIT", "PUSH BAR"], "Perhaps a cat. Text: EXIT; PUSH BAR."),
        ([], ["Stop!"], "Text: Stop!"),
        ([], ["two\nlines  \tof it"], "Text: two lines of it."),
        ([], ["a", "b", "c", "d", "e"], "Text: a; b; c; d; …"),
        ([], ["x" * 100], f"Text: {'x' * 80}…"),
    ],
)
def test_lines_of_text_are_appended(
    boxes: Sequence[Box], texts: Sequence[str], sentence: str
) -> None:
    assert line(boxes, texts=texts).sentence == sentence


def test_names_of_other_detectors_are_said_as_they_are() -> None:
    assert line([box("red mug", 0.6)]).sentence == "Perhaps a red mug."
    assert line([box("red mug", 0.49)]).sentence == NOTHING
