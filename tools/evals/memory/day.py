"""A scripted day before a camera: what a search finds of it, against the script."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tqdm import tqdm

from tools.evals.figures import Figure, share
from tools.evals.truth.asking import LocalModel
from tools.evals.truth.scenes import names_in
from tools.nano.language import with_article
from tools.nano.scenes import Split, make_frame
from vlm.finder.meaning import Meaning
from vlm.finder.parts import Part
from vlm.pairs.load import load_pair
from vlm.pairs.pair import Pair
from vlm.settings import Settings
from vlm.timeline.plans import plan_of
from vlm.timeline.query import Query
from vlm.timeline.records import Recorded, recorded
from vlm.timeline.search import search
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline

_SPLIT: Final[Split] = "held_out"
_FIRST: Final = 40_000
# 6:00 in UTC of a day; scenes follow each other so that 2,000 of them take 12 hours.
_BEGAN_S: Final = 1_767_247_200.0
_EACH_S: Final = 21.6


class Day:
    """The captions of a day in a timeline, with what was really there."""

    def __init__(self, scenes: int, folder: Path, pair: Part[Pair]) -> None:
        self.timeline = Timeline(folder / "day.sqlite", chosen={"keep": "words", "days": "0"})
        self.timeline.use_meaning(Meaning(pair))
        self.shown: list[frozenset[str]] = []
        model = LocalModel(Settings(model="nano"))
        for index in tqdm(range(scenes), "a day", scenes):
            frame = make_frame(_FIRST + index, _SPLIT)
            self.shown.append(frozenset(names_in(frame.scene)))
            text = model.caption(frame.image)
            self.timeline.add(
                Look(self.at_s(index), text, camera="day", model="nano", image=frame.image)
            )
            if index % 100 == 0:
                self.timeline.settle()
        self.timeline.settle()
        model.close()

    @staticmethod
    def at_s(index: int) -> float:
        """Return when a scene was seen, in seconds since 1970."""
        return _BEGAN_S + index * _EACH_S

    def scene_at(self, at_s: float) -> int:
        """Return the scene that was seen at a time."""
        return round((at_s - _BEGAN_S) / _EACH_S)

    def times(self) -> dict[str, list[int]]:
        """Return the scenes that show each label."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, names in enumerate(self.shown):
            for name in names:
                found[name].append(index)
        return found


def day_figures(scenes: int) -> list[Figure]:
    """Return the figures of searches on a day of `scenes`."""
    pair: Part[Pair] = Part("dual encoder", "nano-pair", lambda: load_pair("nano-pair"))
    with tempfile.TemporaryDirectory() as folder:
        day = Day(scenes, Path(folder), pair)
        figures = [*_searches(day), *_questions(day)]
        day.timeline.close()
    return figures


def _searches(day: Day) -> Iterator[Figure]:
    """Yield how often the first moment of a search shows what was searched."""
    labels = sorted(day.times())
    asked = {
        "recall1": labels,
        "recall1_sentence": [f"a picture of {with_article(each)}" for each in labels],
    }
    for key, queries in asked.items():
        both = _first_right(day, labels, queries)
        yield share(
            key, both, len(labels), "labels", **({"least": 0.97} if key == "recall1" else {})
        )
    meaning, day.timeline.vectors.meaning = day.timeline.vectors.meaning, None
    yield share("recall1_words", _first_right(day, labels, labels), len(labels), "without vectors")
    day.timeline.use_meaning(meaning)
    yield share("recall1_vectors", _nearest_right(day, labels), len(labels), "without words")


def _questions(day: Day) -> Iterator[Figure]:
    """Yield how often questions about time are answered as the script has it."""
    times = sorted(day.times().items())
    now_s = day.at_s(len(day.shown))
    right, off = {"first": 0, "last": 0, "often": 0}, 0.0
    with day.timeline.reading() as connection:
        assert connection is not None, "the day was kept"

        def answer(question: str) -> Recorded:
            plan = plan_of(question, now_s)
            return recorded(connection, plan, Query(), now_s) or Recorded(())

        for label, scenes in times:
            first = answer(f"When was the first {label}?").appearances[:1]
            last = answer(f"When did you last see {with_article(label)}?").appearances[-1:]
            often = len(answer(f"How often was {with_article(label)} seen?").appearances)
            right["first"] += [day.scene_at(each.from_s) for each in first] == scenes[:1]
            right["last"] += [day.scene_at(each.to_s) for each in last] == scenes[-1:]
            right["often"] += often == len(scenes)
            off += abs(often - len(scenes)) / len(scenes)
    yield share("when", sum(right.values()), 3 * len(times), "answers", least=0.97)
    for kind, count in right.items():
        yield share(f"when_{kind}", count, len(times), "labels")
    yield Figure("when_often_off", off / len(times), note="of the right number, mean")


def _first_right(day: Day, labels: Sequence[str], queries: Sequence[str]) -> int:
    right = 0
    with day.timeline.reading() as connection:
        assert connection is not None, "the day was kept"
        for label, query in zip(labels, queries, strict=True):
            found = search(connection, Query(query, limit=1), day.timeline.vectors).moments
            right += bool(found) and label in day.shown[day.scene_at(found[0].from_s)]
    return right


def _nearest_right(day: Day, labels: Sequence[str]) -> int:
    right = 0
    vectors = day.timeline.vectors
    with day.timeline.reading() as connection:
        assert connection is not None, "the day was kept"
        rows = connection.execute("SELECT id, from_s FROM moments").fetchall()
        times: dict[int, float] = dict(rows)
        for label in labels:
            vector = vectors.of_text(label)
            assert vector is not None, "the dual encoder is there"
            found = vectors.nearest(connection, vector, 1, floor=-1.0)
            right += bool(found) and label in day.shown[day.scene_at(times[found[0][0]])]
    return right
