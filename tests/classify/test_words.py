"""The list of words holds together: classes, broader words, places, names of boxes."""

from __future__ import annotations

import pytest

from vlm.classify.words import CLASS_COUNT, Noun, load_words

WORDS = load_words()
ALL_CLASSES = frozenset(range(CLASS_COUNT))


def test_words_have_classes_and_broader_words_hold_them_all() -> None:
    for word in WORDS.words:
        assert word.classes, word.name
        assert word.classes <= ALL_CLASSES, word.name
        assert 0 < word.threshold < 1, word.name
        if word.parent is not None:
            assert word.classes < WORDS.by_name[word.parent].classes, word.name


def test_each_word_and_each_set_of_classes_is_listed_once() -> None:
    assert len(WORDS.by_name) == len(WORDS.words)
    assert len({word.classes for word in WORDS.words}) == len(WORDS.words)


def test_broader_words_need_more() -> None:
    # A sum over many classes passes by chance more easily.
    many = [word for word in WORDS.words if len(word.classes) >= 100]
    assert {word.name for word in many} == {"animal", "dog"}
    assert all(word.threshold > 0.6 for word in many)


def test_places_rest_on_known_classes_and_boxes() -> None:
    for place in WORDS.places:
        assert place.weights.keys() <= ALL_CLASSES, place.name
        assert set(place.weights.values()) <= {0.5, 1.0}, place.name
        assert place.shown_by <= place.weights.keys(), place.name
        assert place.boxes.keys() <= WORDS.boxes.keys(), place.name
        assert place.shown_by_boxes.keys() <= place.boxes.keys(), place.name


def test_boxes_are_called_as_the_word_of_the_same_name() -> None:
    for box in WORDS.boxes.values():
        assert box.classes <= ALL_CLASSES, box.name
        word = WORDS.by_name.get(box.noun.name)
        assert word is None or word.noun == box.noun, box.name


@pytest.mark.parametrize(
    ("noun", "one", "many"),
    [
        (Noun("cat", "a", "cats"), "a cat", "cats"),
        (Noun("scissors", "", "scissors"), "scissors", "scissors"),
        (Noun("broccoli", "", None), "broccoli", "broccoli"),
    ],
)
def test_phrases(noun: Noun, one: str, many: str) -> None:
    assert noun.phrase() == one
    assert noun.phrase(is_many=True) == many


def test_articles_fit_the_sound_of_the_noun() -> None:
    nouns = [word.noun for word in WORDS.words] + [box.noun for box in WORDS.boxes.values()]
    wrong = {
        noun.phrase()
        for noun in nouns
        if noun.article and (noun.article == "an") != (noun.name[0] in "aeiou")
    }
    assert wrong == {"a uniform", "an hourglass"}


def test_an_unknown_name_of_a_box_stands_for_itself() -> None:
    assert WORDS.noun("otter pup").phrase() == "an otter pup"
    assert WORDS.noun("red mug").phrase(is_many=True) == "a red mug"
    assert WORDS.box_name("red mug").classes == frozenset()
