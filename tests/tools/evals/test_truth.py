"""`python -m tools.evals truth`: its measures, its questions, and the whole of it on few scenes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tools.evals.__main__ import main
from tools.evals.truth.calibrate import logistic
from tools.evals.truth.captions import Captions
from tools.evals.truth.measures import auroc, calibration_error, share_interval
from tools.evals.truth.scenes import SETTINGS, names_in, poll_of, scenes_with_objects
from tools.nano.truth import Scene, SceneObject
from vlm.scheduler.worker import Worker
from vlm.scoring.calibration import FOLDER, calibration_of
from vlm.settings import Settings
from web_client import served


def test_measures_have_their_known_values() -> None:
    assert auroc([0.9, 0.8], [0.1, 0.2]) == 1
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([0.1, 0.9], [0.5]) == 0.5
    assert calibration_error([1.0, 0.0], [True, False]) == 0
    assert calibration_error([0.8] * 10, [True] * 8 + [False] * 2) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
    low, high = share_interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)


def test_logistic_regression_finds_temperature_and_bias() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 4, 40_000)
    truths = rng.random(40_000) < 1 / (1 + np.exp(-(odds / 2 - 1)))
    temperature, bias = logistic(odds, truths)
    assert temperature == pytest.approx(2, rel=0.05)
    assert bias == pytest.approx(-1, abs=0.05)


def test_half_of_the_questions_are_right() -> None:
    for seed, frame in scenes_with_objects(5, "train"):
        poll, names = poll_of(frame.scene, seed), names_in(frame.scene)
        assert poll == poll_of(frame.scene, seed)
        assert set(poll.present) <= names
        for setting in SETTINGS:
            assert len(set(poll.absent[setting])) == len(poll.present)
            assert not names & set(poll.absent[setting])
        pairs = [(each.colour, each.shape) for each in frame.scene.objects]
        for name in poll.absent["adversarial"]:
            colour, shape = name.split(" ", 1)
            assert any(colour == one or shape == other for one, other in pairs)


def test_invented_things_are_counted() -> None:
    star = SceneObject("star", "red", "small", "solid", 0.5, 0.5)
    captions = Captions()
    captions.add(Scene("objects", (star,)), "A red star and a blue ring.", "A red star.")
    captions.add(Scene("objects", (star,)), "A red star, a red star and a red ring.", "A red ring.")
    values = {each.key: each.value for each in captions.figures()}
    assert values == {
        "chair_plain": 2 / 5,
        "chair_strict": 1 / 2,
        "chair_ratio": pytest.approx(5 / 4),
        "chair_recall": 1 / 2,
    }


def test_a_calibration_is_read_for_its_model_and_format_alone() -> None:
    assert calibration_of("nano", "float32") is not None
    for name in ("nano/float32", "../calibrations/nano", "x" * 300, "smolvlm-256m"):
        assert calibration_of(name, "float32") is None
    assert {file.suffix for file in FOLDER.iterdir()} == {".json"}


def figures(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    return found


def test_the_command_measures_here_and_on_a_server(
    web_worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["truth", "--scenes", "2", "--photos", "nowhere"]
    assert main([*few, "--dtype", "float32"]) == 0
    here = figures(capsys)
    assert {"labels_top1", "none_auroc", "ece", "pope_popular_auroc"} <= set(here)
    assert here["pointing"]["value"] == 1
    assert here["hiding"]["value"] > 0.5
    with served(web_worker, Settings()) as server:
        assert main([*few, "--engine", f"http://127.0.0.1:{server.port}"]) == 0
    there = figures(capsys)
    assert set(there) < {*here, "chair_plain"}
    for setting in SETTINGS:
        key = f"pope_{setting}_accuracy"
        assert there[key]["value"] == pytest.approx(here[key]["value"], abs=0.2)
    assert main(["truth", "--scenes", "1"]) == 1
