"""Aspects of scenes, and whether a model that is wrong says that it is unsure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from tools.evals.figures import Figure, share
from tools.evals.truth.asking import LocalModel
from tools.nano import questions
from tools.nano.language import caption, count_of
from tools.nano.scenes import Frame
from tools.nano.truth import Scene
from vlm.prompts import DEFAULT_PROMPT
from vlm.scoring.calibration import calibration_of
from vlm.scoring.sure import sure_of

_SCENE_LABELS = {"objects": "clear", "words": "clear", "blur": "blurred"}


def asked_about(frame: Frame, seed: int) -> Iterator[tuple[str, str]]:
    """Yield questions about a scene with their right answers, the caption first."""
    rng = np.random.default_rng([seed, 67])
    yield DEFAULT_PROMPT, caption(frame.scene)
    for exchange in (
        questions.count_question(frame.scene, rng),
        questions.colour_question(frame.scene, rng),
        questions.position_question(frame.scene, rng),
    ):
        if exchange is not None:
            yield exchange.prompt, exchange.answer


class Answers:
    """Counts over scenes."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._calibration = calibration_of(model.name, model.dtype)
        self._right: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    def add(self, frame: Frame, seed: int) -> None:
        """Ask about one scene."""
        truth = _aspects(frame.scene)
        for aspect in self._model.aspects(frame.image).aspects:
            if aspect.id in truth:
                self._count(f"aspect_{aspect.id}", aspect.labels[0].label == truth[aspect.id])
        for prompt, answer in asked_about(frame, seed):
            text, tokens = self._model.answer_tokens(frame.image, prompt)
            sure = sure_of(text, tokens, self._calibration)
            if sure is not None and sure.unsure is not None:
                key = "unsure_right" if text == answer else "unsure_wrong"
                self._count(key, sure.unsure)

    def figures(self) -> list[Figure]:
        """Return shares: aspects that are right, and answers that are called unsure."""
        return [share(key, self._right[key], self._asked[key]) for key in sorted(self._asked)]

    def _count(self, key: str, counts: bool) -> None:
        self._asked[key] += 1
        self._right[key] += counts


def _aspects(scene: Scene) -> dict[str, str]:
    """Return the right labels of the aspects that the scene has."""
    found = {"scene": _SCENE_LABELS.get(scene.kind, scene.kind), "light": scene.light}
    if scene.kind in ("objects", "words", "empty"):
        found["count"] = questions.COUNT_WORDS[count_of(scene)].lower()
        found["text"] = "text" if scene.text else "no text"
    return found
