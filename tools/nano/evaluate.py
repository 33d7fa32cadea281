"""`python -m tools.nano.evaluate`: evaluate a checkpoint on frames that it was not trained on.

All answers come greedily from the engine, as live captions do. Prints a table and, last, one line
of JSON; a figure is null if its pictures are not available (photographs, a browser).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, get_args

import numpy as np
from PIL import Image
from tqdm import tqdm

from tools.nano import language, questions
from tools.nano.browser_scenes import browser_frames, find_browser
from tools.nano.questions import Exchange
from tools.nano.scenes import make_frame
from tools.nano.truth import Kind, Scene
from vlm.engine.engine import Engine
from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.settings import DTYPES, RUNTIMES, Settings
from vlm.types import Detail, Request

# An image and a question in, an answer out.
Ask: TypeAlias = Callable[[Image.Image, str], str]

ANSWER_TOKENS: Final = 64
STATE_KINDS: Final[tuple[Kind, ...]] = ("covered", "dark", "empty")
TARGETS: Final[dict[str, float]] = {
    "object_f1": 0.97,
    "position": 0.95,
    "count": 0.95,
    "exists_random": 0.97,
    "exists_adversarial": 0.95,
    "words": 0.9,
    "states": 0.99,
    "false_unfamiliar": 0.01,
    "other_renderer_f1": 0.93,
    "photos_unfamiliar": 0.75,
}


def answer(engine: Engine, detail: Detail, image: Image.Image, prompt: str) -> str:
    """Return the engine's answer to one question."""
    return engine.run(Request.about(image, prompt, ANSWER_TOKENS, detail)).text


@dataclass
class Share:
    """A running share of correct answers."""

    correct: int = 0
    total: int = 0

    def add(self, is_correct: bool) -> None:
        """Count one answer."""
        self.correct += is_correct
        self.total += 1

    def value(self) -> float | None:
        """Return correct over total; None without answers."""
        return self.correct / self.total if self.total else None


@dataclass
class ObjectF1:
    """Micro-averaged F1 over (colour, shape) pairs with their counts.

    Scenes without objects count too: an object named there is a false positive.
    """

    hits: int = 0
    named: int = 0
    present: int = 0

    def add(self, caption: str, scene: Scene) -> None:
        """Count one caption."""
        named = language.objects_in(caption)
        truth = Counter((item.colour, item.shape) for item in scene.objects)
        self.hits += (named & truth).total()
        self.named += named.total()
        self.present += truth.total()

    def value(self) -> float | None:
        """Return 2·hits / (named + present); None without any object."""
        return 2 * self.hits / (self.named + self.present) if self.named + self.present else None


@dataclass
class Scores:
    """The running figures of one evaluation."""

    objects: ObjectF1 = field(default_factory=ObjectF1)
    other_renderer: ObjectF1 = field(default_factory=ObjectF1)
    shares: dict[str, Share] = field(default_factory=dict)

    def add(self, key: str, is_correct: bool) -> None:
        """Count one answer for the figure `key`."""
        self.shares.setdefault(key, Share()).add(is_correct)

    def figures(self) -> dict[str, float | None]:
        """Return all figures by their keys; None if nothing was counted."""
        values = {key: self.shares[key].value() if key in self.shares else None for key in TARGETS}
        values["object_f1"] = self.objects.value()
        values["other_renderer_f1"] = self.other_renderer.value()
        for extra in ("unfamiliar", "colour"):
            values[extra] = self.shares[extra].value() if extra in self.shares else None
        return values


def _is_unfamiliar(caption: str) -> bool:
    return caption.startswith("An unfamiliar scene")


def _score_scene(ask: Ask, seed: int, scores: Scores) -> None:
    frame = make_frame(seed, "held_out")
    scene = frame.scene
    caption = ask(frame.image, DEFAULT_PROMPT)
    rng = np.random.default_rng([seed, 7])
    # For every kind of scene, because an object named in an empty scene is a false positive.
    scores.objects.add(caption, scene)
    if scene.kind == "unfamiliar":
        scores.add("unfamiliar", _is_unfamiliar(caption))
    elif scene.kind in ("objects", "words"):
        scores.add("false_unfamiliar", _is_unfamiliar(caption))
    for key, exchange in _questions_about(scene, rng).items():
        if exchange is not None:
            scores.add(key, ask(frame.image, exchange.prompt) == exchange.answer)
    if scene.text is not None:
        read = ask(frame.image, questions.reading_question(scene, rng).prompt)
        scores.add("words", language.quoted_in(read) == scene.text.text)


def _questions_about(scene: Scene, rng: np.random.Generator) -> dict[str, Exchange | None]:
    """Return the questions about a scene, by the keys of their figures."""
    found: dict[str, Exchange | None] = {}
    if scene.kind in ("objects", "words", "empty"):
        found["count"] = questions.count_question(scene, rng)
    if scene.objects:
        # Only for scenes with objects, so that half of the correct answers are yes.
        found["exists_random"] = questions.existence(scene, rng, adversarial=False)
        found["exists_adversarial"] = questions.existence(scene, rng, adversarial=True)
        found["position"] = questions.position_question(scene, rng)
        found["colour"] = questions.colour_question(scene, rng)
    return found


def _score_state(ask: Ask, seed: int, kind: Kind, scores: Scores) -> None:
    caption = ask(make_frame(seed, "held_out", kind).image, DEFAULT_PROMPT)
    expected = language.STATE_SENTENCES.get(kind, "An empty scene")
    scores.add("states", caption.startswith(expected))


def photographs(folder: Path | None) -> list[Path]:
    """Return the photographs in `folder`, none if it does not exist."""
    return sorted(folder.glob("*.jpg")) if folder is not None and folder.is_dir() else []


def evaluate(
    engine: Engine,
    scenes: int,
    other_scenes: int,
    photos: Iterable[Path],
    detail: Detail = "low",
) -> dict[str, float | None]:
    """Return all figures of one checkpoint over `scenes` scenes, at least 1."""
    scores, ask = Scores(), partial(answer, engine, detail)
    for seed in tqdm(range(scenes), desc="scenes", unit="scene"):
        _score_scene(ask, seed, scores)
    # States are rare in the usual mix; the seeds of these frames follow those of the scenes.
    for seed in tqdm(range(scenes, scenes + max(1, scenes // 20)), desc="states", unit="frame"):
        for kind in STATE_KINDS:
            _score_state(ask, seed, kind, scores)
    if other_scenes and find_browser() is not None:
        for image, scene in tqdm(
            browser_frames(other_scenes), desc="other renderer", total=other_scenes
        ):
            scores.other_renderer.add(ask(image, DEFAULT_PROMPT), scene)
    for path in tqdm(list(photos), desc="photographs", unit="photo"):
        caption = ask(decode_image(path.read_bytes()), DEFAULT_PROMPT)
        scores.add("photos_unfamiliar", _is_unfamiliar(caption))
    return scores.figures()


def table(figures: dict[str, float | None]) -> str:
    """Return the figures and their targets as text for people."""
    lines = [f"{'figure':<22}{'measured':>10}  target"]
    for key, value in figures.items():
        shown = "-" if value is None else f"{value:.3f}"
        bound = "at most" if key == "false_unfamiliar" else "at least"
        target = f"{bound} {TARGETS[key]}" if key in TARGETS else ""
        lines.append(f"{key:<22}{shown:>10}  {target}".rstrip())
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    repository = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(prog="python -m tools.nano.evaluate", description=__doc__)
    parser.add_argument(
        "--checkpoint", default="nano", help="folder of the checkpoint; default: the bundled one"
    )
    parser.add_argument("--scenes", type=int, default=2000, help="held-out scenes")
    parser.add_argument(
        "--other-scenes", type=int, default=300, help="scenes drawn by Chromium, 0 for none"
    )
    parser.add_argument(
        "--photos",
        type=Path,
        default=repository.parent / "shared" / "photos",
        help="folder of photographs without taught objects; skipped if it does not exist",
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="as for app.py")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="as for app.py")
    parser.add_argument("--int8-vision", action="store_true", help="as for app.py")
    parser.add_argument(
        "--detail", choices=get_args(Detail), default="low", help="as for /api/captions"
    )
    arguments = parser.parse_args(argv)
    if arguments.scenes < 1:
        raise SystemExit("evaluate: an evaluation needs at least one scene: raise --scenes")
    settings = Settings(
        model=arguments.checkpoint,
        runtime=arguments.runtime,
        dtype=arguments.dtype,
        int8_vision=arguments.int8_vision,
    )
    try:
        engine = load_engine(settings)
        figures = evaluate(
            engine,
            arguments.scenes,
            arguments.other_scenes,
            photographs(arguments.photos),
            arguments.detail,
        )
    except SightlineError as error:
        raise SystemExit(f"evaluate: {error}") from None
    print(table(figures))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
