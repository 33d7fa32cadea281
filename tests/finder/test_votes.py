"""Live votes: a name needs two of the last three frames to come and one to stay."""

from __future__ import annotations

import pytest

from vlm.finder.sentence import FirstLine, Name
from vlm.finder.votes import Votes


def line_of(text: str) -> FirstLine:
    """Return a line like "kitchen: cat, dog": names of falling size."""
    place, _, names = text.rpartition(":")
    return FirstLine(
        place.strip() or None,
        tuple(
            Name(name, f"a {name}", 0.5 - 0.1 * number)
            for number, name in enumerate(filter(None, map(str.strip, names.split(","))))
        ),
    )


def voted(*texts: str, gap_s: float = 0.5) -> list[str]:
    """Return what is said after each frame: places and names without "Perhaps" and articles."""
    votes, said = Votes(), []
    for number, text in enumerate(texts):
        votes = votes.after(line_of(text), number * gap_s)
        names = ", ".join(name.name for name in votes.line.names)
        said.append(": ".join(filter(None, [votes.line.place, names])))
    return said


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        # The first frame speaks alone.
        (["cat"], ["cat"]),
        # A name comes with its second frame of three and goes after three without it.
        (["", "cat", "cat", "", "", ""], ["", "", "cat", "cat", "cat", ""]),
        (["", "cat", "", "cat"], ["", "", "", "cat"]),
        (["", "cat", "", "", "cat"], ["", "", "", "", ""]),
        # One frame with a wrong name changes nothing.
        (["dog", "dog", "dog, kite", "dog"], ["dog", "dog", "dog", "dog"]),
        # Places vote in the same way; one of them is said.
        (["kitchen:", "", "", ""], ["kitchen", "kitchen", "kitchen", ""]),
        (["kitchen:", "desk:", "desk:"], ["kitchen", "kitchen", "desk"]),
        (["kitchen:", "kitchen:", "desk:"], ["kitchen", "kitchen", "kitchen"]),
        # The order is by mean size.
        (["cat, dog", "dog, cat", "dog, cat"], ["cat, dog", "cat, dog", "dog, cat"]),
        # Four names at most.
        (["a, b, c, d", "a, b, c, e", "a, b, c, e"], ["a, b, c, d", "a, b, c, d", "a, b, c, d"]),
    ],
)
def test_names_and_places_come_and_go_by_votes(frames: list[str], said: list[str]) -> None:
    assert voted(*frames) == said


def test_old_frames_have_no_vote() -> None:
    assert voted("cat", "dog", gap_s=0.5) == ["cat", "cat"]
    assert voted("cat", "dog", gap_s=10) == ["cat", "dog"]


def test_the_commonest_phrase_is_said() -> None:
    one = FirstLine(None, (Name("cat", "a cat", 0.2),))
    many = FirstLine(None, (Name("cat", "cats", 0.4),))
    votes = Votes().after(many, 0).after(many, 1).after(one, 2)
    assert votes.line.sentence == "Perhaps cats."
    assert votes.after(one, 3).line.sentence == "Perhaps a cat."


def test_text_is_that_of_the_newest_frame() -> None:
    votes = Votes().after(FirstLine(None, (), ("EXIT",)), 0)
    assert votes.line.sentence == "Text: EXIT."
    assert votes.after(FirstLine(None, ()), 1).line.is_empty


def test_a_state_is_not_changed_by_the_next_frame() -> None:
    before = Votes().after(line_of("cat"), 0)
    before.after(line_of("dog"), 1)
    assert before == Votes().after(line_of("cat"), 0)
