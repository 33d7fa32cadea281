"""The evaluation: how figures are counted, and that the bundled model reaches its floors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.nano import evaluate as evaluation
from tools.nano.evaluate import ObjectF1, Scores, Share, evaluate, photographs, table
from tools.nano.truth import Scene, SceneObject
from vlm.engine.engine import Engine

FIGURES = {*evaluation.TARGETS, "unfamiliar", "colour"}
# A little less than `python -m tools.nano.evaluate --scenes 60` prints, to detect a checkpoint, a
# resize or a decoder that has become worse. vlm/nano/README.md has the figures of 2,000 scenes.
FLOOR_SCENES = 60
FLOORS = {
    "object_f1": 0.955,
    "count": 0.98,
    "exists_random": 0.97,
    "exists_adversarial": 0.96,
    "position": 0.92,
    "words": 0.88,
    "states": 0.98,
}


def scene_of(*names: tuple[str, str]) -> Scene:
    return Scene(
        "objects",
        tuple(SceneObject(shape, colour, "small", "solid", 0.5, 0.5) for colour, shape in names),
    )


def test_share_is_correct_over_total_and_none_without_answers() -> None:
    share = Share()
    assert share.value() is None
    for is_correct in (True, False, True, True):
        share.add(is_correct)
    assert share.value() == 0.75


def test_object_f1_is_micro_averaged_over_colour_and_shape() -> None:
    f1 = ObjectF1()
    assert f1.value() is None
    f1.add("A red star.", scene_of(("red", "star"), ("blue", "ring")))
    f1.add("A blue ring and a green ring.", scene_of(("blue", "ring")))
    f1.add("A red ring.", scene_of(("red", "star")))
    # 2 of the 4 named are correct, 2 of the 4 present are named.
    assert (f1.hits, f1.named, f1.present) == (2, 4, 4)
    assert f1.value() == 0.5


def test_object_f1_counts_twins_and_false_positives() -> None:
    twins = scene_of(("red", "star"), ("red", "star"))
    once, twice, thrice = ObjectF1(), ObjectF1(), ObjectF1()
    once.add("A red star.", twins)
    twice.add("A red star and a red star.", twins)
    thrice.add("A red star, a red star and a red star.", twins)
    assert [each.value() for each in (once, twice, thrice)] == [2 / 3, 1.0, 0.8]
    invented = ObjectF1()
    invented.add("A red star.", Scene("empty"))
    assert invented.value() == 0.0


def test_figures_without_answers_are_null() -> None:
    scores = Scores()
    assert scores.figures() == dict.fromkeys(FIGURES)
    scores.add("count", True)
    assert scores.figures() == {**dict.fromkeys(FIGURES), "count": 1.0}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scenes", "0"], "--scenes"),
        (["--scenes", "-3"], "--scenes"),
        (["--checkpoint", "FOLDER"], "is empty"),
    ],
)
def test_unusable_option_is_refused(tmp_path: Path, flags: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        evaluation.main([str(tmp_path) if each == "FOLDER" else each for each in flags])


def test_command_ends_with_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Torch starts at once; OpenVINO would convert the model first.
    flags = ["--runtime", "torch", "--scenes", "1", "--other-scenes", "0"]
    evaluation.main([*flags, "--photos", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])
    assert set(figures) == FIGURES
    assert figures["photos_unfamiliar"] is None
    assert figures["other_renderer_f1"] is None
    assert figures["states"] is not None
    assert table(figures).splitlines() == lines[:-1]


def test_table_shows_figures_and_targets() -> None:
    lines = table({"object_f1": 0.5, "false_unfamiliar": None, "colour": 1.0}).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["object_f1", "0.500", "at", "least", "0.97"],
        ["false_unfamiliar", "-", "at", "most", "0.01"],
        ["colour", "1.000"],
    ]


def test_photographs_are_found(tmp_path: Path) -> None:
    assert photographs(None) == []
    assert photographs(tmp_path / "absent") == []
    for name in ("b.jpg", "a.jpg", "captions.json"):
        (tmp_path / name).touch()
    assert [path.name for path in photographs(tmp_path)] == ["a.jpg", "b.jpg"]


def test_bundled_model_reaches_its_floors(engine: Engine) -> None:
    figures = evaluate(engine, FLOOR_SCENES, 0, ())
    measured = {name: figures[name] or 0.0 for name in FLOORS}
    assert {name: figure for name, figure in measured.items() if figure < FLOORS[name]} == {}
