"""Laws of the evaluation: it counts as its names say, and never scores what it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.nano import evaluate as evaluation
from tools.nano.evaluate import ObjectF1, Scores, Share, evaluate, photographs, table
from tools.nano.truth import Scene, SceneObject
from vlm.engine.engine import Engine
from vlm.errors import SightlineError

FIGURES = {*evaluation.TARGETS, "unfamiliar", "colour"}


def scene_of(*names: tuple[str, str]) -> Scene:
    return Scene(
        "objects",
        tuple(SceneObject(shape, colour, "small", "solid", 0.5, 0.5) for colour, shape in names),
    )


def test_shares_are_right_over_total_and_nothing_without_answers() -> None:
    share = Share()
    assert share.value() is None
    for is_right in (True, False, True, True):
        share.add(is_right)
    assert share.value() == 0.75


def test_object_f1_is_micro_averaged_over_colour_and_shape_together() -> None:
    f1 = ObjectF1()
    assert f1.value() is None
    f1.add("A red star.", scene_of(("red", "star"), ("blue", "ring")))
    f1.add("A blue ring and a green ring.", scene_of(("blue", "ring")))
    f1.add("A red ring.", scene_of(("red", "star")))
    # 2 of 4 said are right, 2 of 4 there are said.
    assert (f1.hits, f1.said, f1.there) == (2, 4, 4)
    assert f1.value() == 0.5


def test_object_f1_counts_twins_twice_and_invented_objects_against() -> None:
    twins = scene_of(("red", "star"), ("red", "star"))
    once, twice, thrice = ObjectF1(), ObjectF1(), ObjectF1()
    once.add("A red star.", twins)
    twice.add("A red star and a red star.", twins)
    thrice.add("A red star, a red star and a red star.", twins)
    assert [each.value() for each in (once, twice, thrice)] == [2 / 3, 1.0, 0.8]
    invented = ObjectF1()
    invented.add("A red star.", Scene("empty"))
    assert invented.value() == 0.0


def test_figures_are_null_where_nothing_was_counted() -> None:
    scores = Scores()
    assert scores.figures() == dict.fromkeys(FIGURES)
    scores.add("count", True)
    assert scores.figures() == {**dict.fromkeys(FIGURES), "count": 1.0}


@pytest.mark.parametrize("scenes", [0, -3])
def test_an_empty_set_is_an_error(engine: Engine, scenes: int) -> None:
    with pytest.raises(SightlineError, match="--scenes"):
        evaluate(engine, scenes, 0, ())


def test_the_command_refuses_an_empty_set_and_a_folder_that_is_no_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(SystemExit, match="--scenes"):
        evaluation.main(["--scenes", "0"])
    with pytest.raises(SystemExit, match=r"config\.json"):
        evaluation.main(["--checkpoint", str(tmp_path)])


def test_the_command_ends_with_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation.main(["--scenes", "1", "--other-scenes", "0", "--photos", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])
    assert set(figures) == FIGURES
    assert figures["photos_unfamiliar"] is None
    assert figures["other_renderer_f1"] is None
    assert figures["states"] is not None
    assert table(figures).splitlines() == lines[:-1]


def test_the_table_shows_every_figure_beside_its_target() -> None:
    lines = table({"object_f1": 0.5, "false_unfamiliar": None, "colour": 1.0}).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["object_f1", "0.500", "at", "least", "0.97"],
        ["false_unfamiliar", "-", "at", "most", "0.01"],
        ["colour", "1.000"],
    ]


def test_photographs_are_found_where_they_are(tmp_path: Path) -> None:
    assert photographs(None) == []
    assert photographs(tmp_path / "absent") == []
    for name in ("b.jpg", "a.jpg", "captions.json"):
        (tmp_path / name).touch()
    assert [path.name for path in photographs(tmp_path)] == ["a.jpg", "b.jpg"]
