"""The command line of `python -m tools.evals truth`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from tools.bench.machine import describe_machine
from tools.evals.figures import Figure, as_json, share, table
from tools.evals.photographs import DEFAULT_FOLDER, coco
from tools.evals.truth.answers import Answers
from tools.evals.truth.asking import LocalModel, RemoteModel
from tools.evals.truth.captions import Captions
from tools.evals.truth.looking import Hiding, Pointing, things_of
from tools.evals.truth.measures import auroc, calibration_error, resampled, share_interval
from tools.evals.truth.places import Places, boxes_in
from tools.evals.truth.scenes import (
    LABELS,
    SETTINGS,
    Setting,
    poll_of,
    scenes_with_objects,
    single_objects,
)
from tools.nano.language import with_article
from tools.nano.scenes import Split, make_frame
from vlm.errors import SettingsError
from vlm.settings import DTYPES, RUNTIMES, Settings

# Calibrations are made on another split.
_SPLIT: Final[Split] = "held_out"
# Of so many scenes the words of one are hidden, which takes long.
_HIDDEN_EACH: Final = 4
_QUESTION = "Is there {thing} in this image?"


def run(argv: Sequence[str]) -> int:
    """Measure, print a table and one line of JSON; return the exit code."""
    options = _parser().parse_args(argv)
    if options.scenes < 2:
        raise SettingsError("Raise --scenes to 2 at least.")
    if options.engine is not None:
        figures = _remote(RemoteModel(options.engine), options.scenes)
    else:
        settings = Settings(model=options.model, runtime=options.runtime, dtype=options.dtype)
        model = LocalModel(settings)
        figures = _of_model(model, options)
        model.close()
    print(f"{options.scenes} held-out scenes")
    print(table(figures))
    print(json.dumps({"figures": as_json(figures), "machine": describe_machine()}))
    return 0


def _of_model(model: LocalModel, options: argparse.Namespace) -> list[Figure]:
    if options.captions_only:
        return _captions(model, options.scenes)
    figures = _looks(model, options.scenes) + _where(model, options.scenes)
    return (
        figures if options.looks_only else _local(model, options.scenes, options.photos) + figures
    )


def _captions(model: LocalModel, scenes: int) -> list[Figure]:
    captions = Captions()
    for seed in tqdm(range(scenes), "captions"):
        frame = make_frame(seed, _SPLIT)
        captions.add(frame.scene, model.caption(frame.image), model.caption(frame.image, "strict"))
    return captions.figures()


def _local(model: LocalModel, scenes: int, photos: Path) -> list[Figure]:
    answers: dict[Setting, list[tuple[float, bool]]] = {setting: [] for setting in SETTINGS}
    for seed, frame in tqdm(scenes_with_objects(scenes, _SPLIT), "questions", scenes):
        poll = poll_of(frame.scene, seed)
        things = [*poll.present, *(each for one in SETTINGS for each in poll.absent[one])]
        yes = dict(zip(things, model.existence(frame.image, things), strict=True))
        for setting in SETTINGS:
            answers[setting] += [(yes[each], True) for each in poll.present]
            answers[setting] += [(yes[each], False) for each in poll.absent[setting]]
    figures = [figure for setting in SETTINGS for figure in _pope(setting, answers[setting])]
    every = [each for setting in SETTINGS for each in answers[setting]]
    figures.append(
        Figure(
            "ece", calibration_error(*zip(*every, strict=True)), most=0.03, note=_interval(every)
        )
    )
    figures += _labels(model, scenes, photos)
    figures += _captions(model, scenes)
    asked = Answers(model)
    for seed in tqdm(range(scenes), "answers"):
        asked.add(make_frame(seed, _SPLIT), seed)
    return [*figures, *asked.figures()]


def _looks(model: LocalModel, scenes: int) -> list[Figure]:
    """Return whether words look at what they name, and lose most without it."""
    pointing, hiding = Pointing(), Hiding(model)
    for index, (_, frame) in enumerate(tqdm(scenes_with_objects(scenes, _SPLIT), "looks", scenes)):
        result = model.explained(frame.image)
        if result.looks is None:
            continue
        for word, cells in things_of(frame, result.looks):
            pointing.add(word, cells)
            if index % _HIDDEN_EACH == 0:
                hiding.add(frame, result.text, result.looks, word)
    return [*pointing.figures(), *hiding.figures()]


def _where(model: LocalModel, scenes: int) -> list[Figure]:
    """Return whether boxes are around what they name, and absent things have none."""
    places = Places()
    for seed, frame in tqdm(scenes_with_objects(scenes, _SPLIT), "where", scenes):
        for name, box in boxes_in(frame):
            places.add(box, model.where(frame.image, name))
        absent = poll_of(frame.scene, seed).absent
        for name in sorted({each for setting in SETTINGS for each in absent[setting]}):
            places.add_absent(model.where(frame.image, name))
    return places.figures()


def _remote(model: RemoteModel, scenes: int) -> list[Figure]:
    answers: dict[Setting, list[tuple[float, bool]]] = {setting: [] for setting in SETTINGS}
    captions = Captions()
    for seed, frame in tqdm(scenes_with_objects(scenes, _SPLIT), model.name, scenes):
        poll = poll_of(frame.scene, seed)
        yes = {}
        for thing in {*poll.present, *(each for one in SETTINGS for each in poll.absent[one])}:
            said = model.answer(frame.image, _QUESTION.format(thing=with_article(thing)))
            yes[thing] = float(said.strip().lower().startswith("yes"))
        for setting in SETTINGS:
            answers[setting] += [(yes[each], True) for each in poll.present]
            answers[setting] += [(yes[each], False) for each in poll.absent[setting]]
        captions.add(frame.scene, model.caption(frame.image), None)
    model.close()
    figures = [
        figure
        for setting in SETTINGS
        for figure in _pope(setting, answers[setting])
        if "auroc" not in figure.key
    ]
    return [*figures, *captions.figures()]


def _pope(setting: Setting, answers: Sequence[tuple[float, bool]]) -> list[Figure]:
    """Return accuracy, yes ratio and AUROC of one setting, with 95 % intervals."""
    right = sum((yes >= 0.5) == truth for yes, truth in answers)
    said_yes = sum(yes >= 0.5 for yes, _ in answers)
    found = (("accuracy", right), ("yes", said_yes))
    figures = [
        share(f"pope_{setting}_{name}", count, len(answers), _bounds(count, len(answers)))
        for name, count in found
    ]
    true = [yes for yes, truth in answers if truth]
    false = [yes for yes, truth in answers if not truth]
    low, high = resampled(
        lambda yes, truth: auroc(yes[truth].tolist(), yes[~truth].tolist()),
        *zip(*answers, strict=True),
    )
    note = f"95 %: {low:.4f} to {high:.4f}"
    return [*figures, Figure(f"pope_{setting}_auroc", auroc(true, false), note=note)]


def _labels(model: LocalModel, scenes: int, photos: Path) -> list[Figure]:
    """Return how often the likeliest label is right, and what "none" tells."""
    right, known = 0, []
    for frame, name in tqdm(single_objects(scenes, _SPLIT), "labels", scenes):
        found = model.labels(frame.image, LABELS)
        right += found.labels[0].label == name
        known.append(_none(found.none, found.labels[0].logprob))
    unfamiliar, others = [], []
    for seed in tqdm(range(scenes // 2), "unfamiliar"):
        found = model.labels(make_frame(seed, _SPLIT, "unfamiliar").image, LABELS)
        unfamiliar.append(_none(found.none, found.labels[0].logprob))
    for image in coco(photos).values():
        found = model.labels(image, LABELS)
        others.append(_none(found.none, found.labels[0].logprob))
    values = {"unfamiliar": auroc(unfamiliar, known)}
    if others:
        values["photographs"] = auroc(others, known)
    return [
        share("labels_top1", right, scenes, _bounds(right, scenes), least=0.98),
        Figure(
            "none_auroc",
            min(values.values()),
            least=0.99,
            note=", ".join(f"{name} {value:.4f}" for name, value in values.items()),
        ),
        Figure("none_known", float(np.mean([each > 0.5 for each in known])), note="should be 0"),
        Figure(
            "none_unfamiliar",
            float(np.mean([each > 0.5 for each in unfamiliar])),
            note="should be 1",
        ),
    ]


def _none(none: float | None, logprob: float) -> float:
    """Return the probability of "none", or what orders pictures as it would."""
    return -logprob if none is None else none


def _bounds(part: int, whole: int) -> str:
    low, high = share_interval(part, whole)
    return f"95 %: {low:.3f} to {high:.3f}"


def _interval(answers: Sequence[tuple[float, bool]]) -> str:
    low, high = resampled(
        lambda yes, truth: calibration_error(yes.tolist(), truth.tolist()),
        *zip(*answers, strict=True),
    )
    return f"95 %: {low:.4f} to {high:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evals truth",
        description="Whether what a model says is true, on nano's held-out scenes: POPE in three "
        "settings, labels, invented things of captions, where their words look, and its own "
        "probabilities.",
    )
    parser.add_argument("--scenes", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--model", default="nano", help="as for app.py (default: %(default)s)")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="as for app.py")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="as for app.py")
    parser.add_argument(
        "--photos", type=Path, default=DEFAULT_FOLDER, help="photographs without taught objects"
    )
    some = parser.add_mutually_exclusive_group()
    some.add_argument(
        "--looks-only", action="store_true", help="only where words look, and where things are"
    )
    some.add_argument(
        "--captions-only", action="store_true", help="only invented things of captions"
    )
    parser.add_argument(
        "--engine",
        metavar="URL",
        help="an OpenAI-compatible server; what needs more than answers is left out",
    )
    return parser
