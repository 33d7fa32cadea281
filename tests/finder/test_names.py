"""Names of things: synonyms, plural forms, broader and narrower words."""

from __future__ import annotations

import pytest

from vlm.finder.names import SYNONYMS, thing_in, vocabulary


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("cup", {"cup"}),
        ("Find my MUG!", {"cup"}),
        ("where are the cups?", {"cup"}),
        ("a cell phone", {"cell phone"}),
        ("smartphones", {"cell phone"}),
        ("TV", {"tv"}),
        ("the dining table", {"dining table"}),
        ("children", {"person"}),
        ("people", {"person"}),
        ("luggage", {"suitcase"}),
        ("potted plants", {"potted plant"}),
        # A broad word stands for all its things.
        ("fruit", {"apple", "banana", "orange"}),
        ("computer", {"laptop", "tv"}),
        # A narrow one is looked for under the next broader name.
        ("poodle", {"dog"}),
        ("taxi", {"car"}),
        # The classifier alone knows these, and nobody those.
        ("sunglasses", set()),
        ("my glasses", set()),
        ("phone charger", set()),
        ("the", set()),
        ("", set()),
    ],
)
def test_people_s_words_are_mapped_to_the_detector_s_names(asked: str, names: set[str]) -> None:
    assert vocabulary().boxes_for(asked) == names


def test_every_name_of_the_detector_is_known_by_itself_and_by_its_noun() -> None:
    from vlm.detect.coco import DISPLAY_THRESHOLDS

    for name in DISPLAY_THRESHOLDS:
        assert name in vocabulary().boxes_for(name), name
        assert name in vocabulary().boxes_for(vocabulary().noun_of(name)), name


def test_every_synonym_names_what_it_stands_beside() -> None:
    for name, synonyms in SYNONYMS.items():
        known = vocabulary().get(name)
        assert known is not None and known.name == name
        for synonym in synonyms.split(", "):
            found = vocabulary().get(synonym)
            assert found is not None and found.name == name, synonym


def test_the_thing_is_found_in_a_request() -> None:
    assert thing_in("Where's my big cup, please?") == "big cup please"
    assert thing_in("Find the  coffee-mug.") == "coffee-mug"
