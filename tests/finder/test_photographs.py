"""Photographs get the lines with which the rule was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlm.finder.finder import Finder
from vlm.finder.first_line import first_line
from vlm.images.decode import decode_image

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
# Place and names; the order of two things of nearly one size is left open.
LINES = {
    285: ("", "a bear"),
    872: ("a sports field", "a baseball player"),
    1000: ("", "people"),
    1993: ("a bedroom", "a bed, a table"),
    5001: ("", "people"),
    6818: ("a bathroom", "a toilet, a sink"),
    7574: ("a kitchen", "a refrigerator, bottles"),
    8021: ("", "people, a tie"),
    9483: ("a desk", "people, a computer, a screen, a keyboard"),
    12062: ("", "a sheep"),
    12280: ("", "a person"),
    13004: ("", "a bowl"),
    30213: ("a kitchen", "a chair, a refrigerator, a bowl"),
    99053: ("", "a bowl"),
    126107: ("a beach", "a seabird"),
    165518: ("", "a person"),
    189775: ("a sports field", "people, a racket"),
    214753: ("", "an animal, people"),
    252332: ("", "a stop sign"),
    262440: ("a bathroom", "a toilet"),
    347254: ("", "a person"),
    377575: ("", "a poodle"),
    403353: ("a bedroom", "a bed, a lamp"),
    423617: ("a street", "buses, cars, a person"),
}


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are not here")
def test_the_lines_of_the_photographs(finder: Finder) -> None:
    classifier = finder.classifier.get()
    wrong = {}
    for number, (place, names) in LINES.items():
        image = decode_image((PHOTOS / f"{number:012}.jpg").read_bytes())
        look = finder.look(image)
        line = first_line(
            look.boxes,
            look.probabilities,
            lambda box, image=image: classifier.probabilities(image, box),
        )
        said = (line.place or "", sorted(name.phrase for name in line.names))
        if said != (place, sorted(names.split(", "))):
            wrong[number] = line.sentence
    assert not wrong
