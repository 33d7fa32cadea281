"""The stress test runs to its end, and what it sends harms nobody."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tools.stress.__main__ import FIGURES, NAMES, main
from tools.stress.chats import mutated_chats
from tools.stress.pictures import mixed_pictures, mutated_bodies
from vlm.images.decode import decode_image


def test_all_scenarios_report_their_figures_without_a_failure_of_the_server() -> None:
    counts = ["--seconds=1", "--connections=20", "--pictures=30", "--warm-up=10", "--bodies=150"]
    scenarios = [
        flag for name in NAMES if name not in ("slow", "left", "held") for flag in ("--only", name)
    ]
    ended = CliRunner().invoke(main, [*counts, *scenarios])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.output.splitlines()[-1])
    expected = {key for key, _, _ in FIGURES if not key.startswith(("slow", "left", "held"))}
    assert set(found) == expected | {"machine"}
    for name in ("mutated", "chats"):
        assert (found[f"{name}_5xx"], found[f"{name}_crashes"]) == (0, 0)
        assert found[f"{name}_answered"] > 0
    assert found["unread_captions"] > 0


def test_mixed_pictures_are_sound_and_bodies_differ() -> None:
    for data in mixed_pictures(40):
        assert decode_image(data).mode == "RGB"
    bodies = list(mutated_bodies(200))
    assert bodies == list(mutated_bodies(200))
    assert len({body for body, _ in bodies}) > 190
    chats = list(mutated_chats(200))
    assert chats == list(mutated_chats(200))
    assert len(set(chats)) > 120
