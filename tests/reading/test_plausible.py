"""Which lines are reported."""

from __future__ import annotations

import pytest

from vlm.reading.plausible import is_plausible


@pytest.mark.parametrize(
    ("text", "score", "is_kept"),
    [
        ("dailynews.", 0.70, True),
        ("dailynews.", 0.69, False),
        ("WC", 0.90, True),
        ("WC", 0.89, False),
        ("7", 0.98, True),
        ("7", 0.97, False),
        ("P", 0.995, True),
        ("C", 0.994, False),
        ("+", 1.0, False),
        ("", 1.0, False),
        ("...", 1.0, False),
        # A word of two alphabets, and two words of one each.
        ("STOP立", 0.99, False),
        ("βeta", 0.99, False),
        ("STOP 停止", 0.99, True),
        ("停止ストップすし々", 0.99, True),
        # Letters upside down, and signs that are no letters.
        ("E∀ ⊥ONCH", 0.99, False),
        ("→ EXIT", 0.99, True),
        ("−5 °C", 0.99, True),  # noqa: RUF001
        # Full-width Latin letters, and units.
        ("ＥＸＩＴ only", 0.99, True),  # noqa: RUF001
        ("EXＩT", 0.99, True),  # noqa: RUF001
        ("47 kΩ 5 µm", 0.99, True),
        ("Größe €5 №9", 0.99, True),
    ],
)
def test_doubtful_lines_are_left_out(text: str, score: float, is_kept: bool) -> None:
    assert is_plausible(text, score) is is_kept
