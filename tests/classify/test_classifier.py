"""The bundled classifier: hedged names, places, features."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from vlm.classify.classifier import Classifier
from vlm.classify.hedging import find_place, hedged_labels
from vlm.classify.words import CLASS_COUNT, Floats, load_words
from vlm.results import Box

WORDS = load_words()
NOISE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def probabilities_of(parts: dict[str, float]) -> Floats:
    """Return probabilities whose parts are spread over the classes of words, the rest over all."""
    probabilities = np.full(CLASS_COUNT, (1 - sum(parts.values())) / CLASS_COUNT, np.float32)
    for name, part in parts.items():
        classes = sorted(WORDS.by_name[name].classes)
        probabilities[classes] += part / len(classes)
    return probabilities


def names_of(probabilities: Floats) -> list[str]:
    return [label.name for label in hedged_labels(WORDS, probabilities)]


def test_each_word_is_said_for_its_own_classes_unless_a_narrower_one_is() -> None:
    for word in WORDS.words:
        said = names_of(probabilities_of({word.name: 0.99}))
        narrower = [other.name for other in WORDS.words if other.classes < word.classes]
        assert word.name in said or set(said) & set(narrower), word.name


def test_a_broader_word_is_not_said_beside_a_narrower_one() -> None:
    for word in WORDS.words:
        if word.parent is not None:
            said = names_of(probabilities_of({word.name: 0.99}))
            assert word.parent not in said, word.name
            assert len(said) == len(set(said)), word.name


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ({"poodle": 0.9}, ["poodle"]),
        ({"poodle": 0.45, "husky": 0.45}, ["dog"]),
        ({"dog": 0.45, "cat": 0.45}, ["animal"]),
        ({"dog": 0.3, "cat": 0.3}, []),
        ({"cat": 0.8, "poodle": 0.2}, ["cat"]),
        ({}, []),
    ],
)
def test_the_most_specific_word_over_its_threshold_is_said(
    parts: dict[str, float], names: list[str]
) -> None:
    assert names_of(probabilities_of(parts)) == names


def test_a_word_needs_its_threshold() -> None:
    threshold = WORDS.by_name["zebra"].threshold
    assert names_of(probabilities_of({"zebra": threshold + 0.001})) == ["zebra"]
    assert names_of(probabilities_of({"zebra": threshold - 0.01})) == []


@pytest.mark.parametrize(
    ("parts", "scores", "name"),
    [
        ({"refrigerator": 0.3, "stove": 0.3}, {}, "kitchen"),
        # One thing is no place, however sure.
        ({"refrigerator": 0.9}, {}, None),
        # A box and the classes of the same thing are one thing.
        ({"refrigerator": 0.5}, {"refrigerator": 0.9}, None),
        ({"stove": 0.3}, {"refrigerator": 0.9}, "kitchen"),
        # The detector alone makes no place.
        ({}, {"refrigerator": 0.9, "oven": 0.9, "microwave": 0.9}, None),
        # Some classes show the place itself, and so does a bed.
        ({"mountain": 0.9}, {}, "mountains"),
        ({"bed": 0.2}, {"bed": 0.6}, "bedroom"),
        ({"bed": 0.2}, {"bed": 0.5}, None),
    ],
)
def test_a_place_is_told_by_two_things(
    parts: dict[str, float], scores: dict[str, float], name: str | None
) -> None:
    place = find_place(WORDS, probabilities_of(parts), scores)
    assert (place.name if place else None) == name


def test_a_place_is_the_last_label(classifier: Classifier) -> None:
    labels = hedged_labels(WORDS, probabilities_of({"refrigerator": 0.3, "stove": 0.6}))
    assert [(label.name, label.kind) for label in labels] == [
        ("stove", "thing"),
        ("kitchen", "place"),
    ]
    assert all(0 <= label.probability <= 1 for label in labels)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (640, 480)),
        Image.new("RGB", (640, 480), "white"),
        Image.new("RGB", (640, 480), "grey"),
        Image.fromarray(NOISE),
        Image.fromarray(NOISE // 8),
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (2048, 1)),
    ],
    ids=["black", "white", "grey", "noise", "dark noise", "one pixel", "one row"],
)
def test_empty_frames_show_nothing(classifier: Classifier, image: Image.Image) -> None:
    assert classifier.classify(image) == []


def test_probabilities_sum_to_one(classifier: Classifier) -> None:
    probabilities = classifier.probabilities(Image.fromarray(NOISE))
    assert probabilities.shape == (CLASS_COUNT,)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1, abs=1e-3)


def test_a_box_is_classified_by_its_own_pixels(classifier: Classifier) -> None:
    image = Image.new("RGB", (400, 300))
    image.paste(Image.fromarray(NOISE), (200, 100))
    inside = Box("thing", 1.0, 0.5, 1 / 3, 0.9, 0.7)
    changed = image.copy()
    changed.paste("white", (0, 0, 100, 300))
    assert np.array_equal(
        classifier.probabilities(image, inside), classifier.probabilities(changed, inside)
    )
    assert not np.array_equal(
        classifier.probabilities(image, inside), classifier.probabilities(image)
    )


@pytest.mark.parametrize(
    "corners", [(0, 0, 0, 0), (1, 1, 1, 1), (0.5, 0.2, 0.5, 0.2), (0, 0, 1, 1), (-1, -1, 2, 2)]
)
def test_any_box_can_be_classified(classifier: Classifier, corners: tuple[float, ...]) -> None:
    box = Box("thing", 1.0, *corners)
    for size in ((1, 1), (7, 300), (640, 480)):
        probabilities = classifier.probabilities(Image.new("RGB", size, "red"), box)
        assert np.isfinite(probabilities).all()


def test_features_are_close_for_pictures_that_are_alike(classifier: Classifier) -> None:
    picture = Image.fromarray(NOISE).resize((640, 480), Image.Resampling.BICUBIC)
    other = Image.linear_gradient("L").convert("RGB")

    def direction(image: Image.Image) -> Floats:
        features = classifier.features(image)
        assert features.shape == (1280,)
        return features / np.linalg.norm(features)

    same = direction(picture) @ direction(picture.crop((8, 8, 632, 472)))
    assert same > direction(picture) @ direction(other)
    assert same > 0.8


def test_equal_pictures_get_equal_answers_from_any_thread(classifier: Classifier) -> None:
    pictures = [Image.fromarray(np.roll(NOISE, shift, 1)) for shift in range(4)]
    expected = [classifier.probabilities(picture) for picture in pictures]
    answers: dict[int, Floats] = {}

    def classify(number: int) -> None:
        answers[number] = classifier.probabilities(pictures[number % len(pictures)])

    threads = [threading.Thread(target=classify, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads)
    for number, answer in answers.items():
        assert np.array_equal(answer, expected[number % len(pictures)])
