"""Are the names in the first lines of photographs right, and are the things there named?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tools.evals.figures import Figure, share
from tools.evals.real.models import SmallModels
from vlm.classify.words import Words, load_words
from vlm.detect.detector import shown
from vlm.finder.sentence import FirstLine

_VERDICTS: Final = Path(__file__).parents[1] / "verdicts.json"
_RIGHT: Final = frozenset({"caption", "seen"})
# Names that count as one of the detector's things although they are no finer word for it.
_COUNT_AS: Final = {"computer": "tv", "racket": "tennis racket"}


@dataclass(frozen=True)
class Picture:
    """One picture's line, and the things of its boxes that are sure enough to be shown."""

    name: str
    line: FirstLine
    shown: frozenset[str]

    @property
    def said(self) -> list[str]:
        """Return the place and the names, as they are said."""
        place = [self.line.place] if self.line.place else []
        return [*place, *(name.phrase for name in self.line.names)]


def look_at(models: SmallModels, images: Mapping[str, Image.Image]) -> list[Picture]:
    """Return what is found in each picture."""
    found = []
    for name, image in images.items():
        boxes, line = models.look(image)
        found.append(Picture(name, line, frozenset(box.name for box in shown(boxes))))
    return found


def name_figures(pictures: Sequence[Picture], lists: Mapping[str, Any]) -> list[Figure]:
    """Return recall, precision and usefulness over the pictures that the lists name."""
    verdicts = _verdicts()
    things: Mapping[str, Sequence[str]] = lists["things"]
    with_captions = [picture for picture in pictures if picture.name in things]
    useful = [picture for picture in pictures if picture.name in lists["useful"]]
    return [
        *recall(with_captions, things),
        precision("precision", useful, verdicts, least=0.9),
        precision("precision_coco", with_captions, verdicts),
        usefulness(useful, verdicts),
    ]


def recall(pictures: Sequence[Picture], things: Mapping[str, Sequence[str]]) -> list[Figure]:
    """Return how many of the captions' things boxes show, and lines name."""
    pairs = [(picture, thing) for picture in pictures for thing in things[picture.name]]
    by_boxes = sum(thing in picture.shown for picture, thing in pairs)
    by_lines = sum(thing in things_named(picture.line) for picture, thing in pairs)
    return [
        share("recall_boxes", by_boxes, len(pairs), "things", least=0.6),
        share("recall", by_lines, len(pairs), "things", least=0.6),
    ]


def precision(
    key: str,
    pictures: Iterable[Picture],
    verdicts: Mapping[str, Mapping[str, str]],
    **target: float,
) -> Figure:
    """Return the share of right names; one without a verdict is wrong."""
    judged = [_verdict(verdicts, picture, name) for picture in pictures for name in picture.said]
    right = sum(verdict in _RIGHT for verdict in judged)
    unjudged = judged.count(None)
    note = f"names{f', {unjudged} without a verdict' if unjudged else ''}"
    return share(key, right, len(judged), note, **target)


def usefulness(pictures: Sequence[Picture], verdicts: Mapping[str, Mapping[str, str]]) -> Figure:
    """Return the share of pictures whose line says something right."""
    right = sum(
        any(_verdict(verdicts, picture, name) in _RIGHT for name in picture.said)
        for picture in pictures
    )
    return share("useful", right, len(pictures), "pictures", least=0.9)


def things_named(line: FirstLine, words: Words | None = None) -> set[str]:
    """Return the detector's things that the line names, by themselves or by a finer word."""
    words = words or load_words()
    boxes = {box.noun.name: name for name, box in words.boxes.items()}
    things = set()
    for name in (name.name for name in line.names):
        if name in _COUNT_AS:
            things.add(_COUNT_AS[name])
        word = words.by_name.get(name)
        if word is not None and word.kind == "person":
            things.add("person")
        broader: str | None = name
        while broader is not None:
            if broader in boxes:
                things.add(boxes[broader])
            parent = words.by_name.get(broader)
            broader = parent.parent if parent is not None else None
    return things


def _verdict(verdicts: Mapping[str, Mapping[str, str]], picture: Picture, name: str) -> str | None:
    return verdicts.get(picture.name, {}).get(name)


def right_names(picture: str) -> list[str]:
    """Return the names and places that are right for a picture."""
    return [name for name, verdict in _verdicts()[picture].items() if verdict in _RIGHT]


def _verdicts() -> Mapping[str, Mapping[str, str]]:
    verdicts: Mapping[str, Mapping[str, str]]
    verdicts = json.loads(_VERDICTS.read_text("utf-8"))["verdicts"]
    return verdicts
