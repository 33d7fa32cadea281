"""Rounds of captions: each scenario once, then each other implementation, repeatedly."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from PIL import Image

from tools.bench.frames import noisy, panned, partly_changed, tile_changed, touched
from tools.bench.measurements import Measured
from tools.bench.options import LLAMA_CPP
from tools.bench.setup import Setup
from vlm.engine.engine import Engine
from vlm.errors import BadRequestError
from vlm.finder.looks_engine import LooksEngine
from vlm.processing.image_processor import TileGrid
from vlm.prompts import PRESETS
from vlm.results import Result, Stats
from vlm.scheduler.protocol import never, stream_alone
from vlm.scoring.labels import LabelQuestion
from vlm.types import AnswerTask, Detail, Message, Request

if TYPE_CHECKING:
    from tools.bench.llama_server import LlamaServer
    from tools.bench.references import Reference


# Of the patches of a frame, as keys of the report.
CHANGED_SHARES: Final = ("0.03", "0.10", "0.25", "0.50", "1.00")
PREFILL_TOKENS: Final = 84
_COLOURS: Final = "black white grey red orange yellow green blue purple pink"
# Of two words.
LABELS: Final = tuple(
    f"{colour} {thing}"
    for colour in _COLOURS.split()
    for thing in ("star", "ring", "cup", "car", "book")
)
# Details of one tile, by its side.
SIDES: Final[tuple[Detail, ...]] = ("tiny", "small", "low")


class Scenarios:
    """Each method runs one caption of `tokens` tokens; all frames differ."""

    def __init__(self, engine: Engine, image: Image.Image, prompt: str, tokens: int) -> None:
        """Raise BadRequestError if the model's context is too short for that many tokens."""
        self._engine = engine
        self._looks_engine = LooksEngine(engine)
        self._image = image
        self._prompt = prompt
        self._other_prompt = next(each.prompt for each in PRESETS if each.prompt != prompt)
        self._tokens = tokens
        self._number = 0
        self._pans = 0
        room = engine.prepare(Request.about(image, prompt, tokens)).limit
        if room < tokens:
            raise BadRequestError(
                f"This model has room for {room} tokens after the image and the prompt. Choose a "
                "smaller --tokens."
            )

    @property
    def encodes_changes(self) -> bool:
        """Return whether the engine encodes what changed alone."""
        return self._engine.patches > 0

    @property
    def shares_passes(self) -> bool:
        """Return whether the engine batches requests."""
        return self._engine.max_batch > 1

    def new_scene(self) -> Stats:
        """Caption a frame and a camera that are new to the engine: plain decoding, no drafts."""
        return self._engine.run(self._new_request()).stats

    def moving_scene(self) -> Stats:
        """Caption the next frame of a turning camera: the last caption is the draft."""
        self._pans += 1
        return self._caption(panned(self._frame(), self._pans), self._prompt, "moving")

    def steady_scene(self) -> Stats:
        """Caption a frame that shows the same as the one before."""
        return self._caption(self._frame(), self._prompt, "steady")

    def changed_scene(self, share: float) -> Stats:
        """Caption the next frame of a still camera, of which a share of the patches changed."""
        grid = math.isqrt(self._engine.patches)
        stats = None
        for frame in (self._frame(), partly_changed(self._image, share, self._number, grid)):
            request = Request.about(frame, self._prompt, self._tokens, camera="still", kind="live")
            stats = self._engine.run(request).stats
        assert stats is not None
        return stats

    def tile_scene(self, detail: Detail) -> Stats:
        """Caption a new frame in a tile of the side of `detail`."""
        return self._engine.run(self._new_request(detail)).stats

    @property
    def tiles(self) -> TileGrid:
        """Return the tiles of a frame of detail "high"."""
        prepared = self._engine.prepare(Request.about(self._image, self._prompt, 1, "high"))
        return next(
            part for _, parts in prepared.turns for part in parts if isinstance(part, TileGrid)
        )

    def high_scenes(self) -> tuple[Stats, Stats]:
        """Caption a frame of detail "high" of which all tiles are new, and one with a new tile."""
        frame = noisy(self._image, self._number)
        self._number += 1
        rows, columns = self.tiles[:2]
        changed = tile_changed(frame, (rows, columns), self._number)
        camera = f"camera-{self._number}"
        first, second = (
            self._engine.run(Request.about(each, self._prompt, self._tokens, "high", camera)).stats
            for each in (frame, changed)
        )
        return first, second

    def second_question(self) -> Stats:
        """Ask a second question about a frame directly after the first."""
        frame = self._frame()
        camera = f"camera-{self._number}"
        self._caption(frame, self._prompt, camera)
        return self._caption(frame, self._other_prompt, camera)

    def labels(self) -> float:
        """Return the time of 50 labels of a frame that was captioned, over that of a prefill.

        The prefill has PREFILL_TOKENS tokens, as of a tile of 64 with a question.
        """
        frame = self._frame()
        self._caption(frame, self._prompt, f"camera-{self._number}")
        question = LabelQuestion(LABELS, "one", self._engine.info.model)
        labels_s = self._engine.run(Request(question.task(frame))).stats.total_s
        return labels_s / self._engine.run(self._prefill()).stats.ttft_s

    def looks(self) -> float:
        """Return the time of a caption with what its words looked at, over that of one without."""
        took = []
        for explain in (False, True):
            frame = self._frame()
            request = Request.about(frame, self._prompt, self._tokens)
            task = replace(request.answer_task, explain=explain)
            started = time.perf_counter()
            job = self._looks_engine.begin(replace(request, task=task), never)
            for _ in stream_alone(self._looks_engine, job):
                pass
            took.append(time.perf_counter() - started)
        return took[1] / took[0]

    def _prefill(self) -> Request:
        """Return a question of PREFILL_TOKENS tokens without an image, and an answer of one."""
        text = ""
        while True:
            text += " one"
            request = Request(AnswerTask((Message("user", (text,)),), max_tokens=1))
            if len(self._engine.prepare(request).input_ids) >= PREFILL_TOKENS:
                return request

    def together(self) -> float:
        """Return the throughput of one full batch over that of the same requests in sequence.

        Each request has a new frame and a new camera.
        """
        count = self._engine.max_batch
        started = time.perf_counter()
        for _ in range(count):
            self.new_scene()
        apart_s = time.perf_counter() - started
        jobs = [self._engine.begin(self._new_request()) for _ in range(count)]
        started = time.perf_counter()
        while jobs:
            made = self._engine.advance(jobs)
            for item in (item for items in made for item in items):
                if isinstance(item, Exception):
                    raise item
            jobs = [
                job
                for job, items in zip(jobs, made, strict=True)
                if not (items and isinstance(items[-1], Result))
            ]
        return apart_s / (time.perf_counter() - started)

    def _new_request(self, detail: Detail = "low") -> Request:
        frame = self._frame()
        camera = f"camera-{self._number}"
        return Request.about(frame, self._prompt, self._tokens, detail, camera)

    def _frame(self) -> Image.Image:
        self._number += 1
        return touched(self._image, self._number)

    def _caption(self, frame: Image.Image, prompt: str, camera: str) -> Stats:
        request = Request.about(frame, prompt, self._tokens, camera=camera)
        return self._engine.run(request).stats


def measure_rounds(setup: Setup, engine: Engine, measured: Measured) -> None:
    """Alternate our captions with the others', so that other load affects all of them alike.

    `engine` must have no stop tokens. Raises SightlineError.
    """
    options = setup.options
    scenarios = Scenarios(engine, setup.image, options.prompt, options.tokens)
    with ExitStack() as stack:
        references = _references(setup, engine, stack)
        measured.reference_dtypes = {way: each.dtype for way, each in references.items()}
        # The first round is not counted: it has one-time costs.
        _round(setup, scenarios, references, Measured())
        for number in range(options.repeats):
            setup.say(f"Round {number + 1} of {options.repeats}.")
            _round(setup, scenarios, references, measured)


def _references(
    setup: Setup, engine: Engine, stack: ExitStack
) -> dict[str, Reference | LlamaServer]:
    """Return the other implementations by way; `stack` ends them."""
    found: dict[str, Reference | LlamaServer] = {}
    ways = setup.options.against
    if not ways:
        return found
    # Imported here: a run without --against needs neither torch nor the seconds to import it.
    from tools.bench.llama_server import LlamaServer
    from tools.bench.references import Reference

    if LLAMA_CPP in ways:
        setup.say("Starting llama.cpp's server.")
        found[LLAMA_CPP] = stack.enter_context(LlamaServer(setup.cache_folder.parent / "llama.log"))
    others = [way for way in ways if way != LLAMA_CPP]
    if others:
        setup.say("Loading the model for transformers.")
        reference = Reference(setup.folder, setup.options.against_dtype, engine.info.device)
        found |= dict.fromkeys(others, reference)
    return found


def _round(
    setup: Setup,
    scenarios: Scenarios,
    references: Mapping[str, Reference | LlamaServer],
    measured: Measured,
) -> None:
    new = scenarios.new_scene()
    measured.add("ttft_s", new.ttft_s)
    measured.add("caption_s", new.total_s)
    measured.add("decode_ms", 1000 * (new.total_s - new.ttft_s) / (new.tokens - 1))
    for way, reference in references.items():
        options = setup.options
        theirs = reference.caption(way, setup.image, options.prompt, options.tokens)
        measured.add("ttft_s", theirs.ttft_s, way)
        measured.add("caption_s", theirs.caption_s, way)
        measured.add("prompt_tokens", theirs.prompt_tokens, way)
    moving = scenarios.moving_scene()
    measured.add("moving_caption_s", moving.total_s)
    measured.add("moving_accepted_share", _accepted_share(moving))
    steady = scenarios.steady_scene()
    measured.add("steady_ttft_s", steady.ttft_s)
    measured.add("steady_caption_s", steady.total_s)
    measured.add("steady_accepted_share", _accepted_share(steady))
    if scenarios.encodes_changes:
        for name in CHANGED_SHARES:
            stats = scenarios.changed_scene(float(name))
            samples = measured.changed.setdefault(name, {})
            for key in ("ttft_s", "total_s", "patches"):
                samples.setdefault(key, []).append(getattr(stats, key))
    for detail in SIDES:
        stats = scenarios.tile_scene(detail)
        samples = measured.sides.setdefault(detail, {})
        for key in ("ttft_s", "total_s", "image_tokens"):
            samples.setdefault(key, []).append(getattr(stats, key))
    if scenarios.tiles.rows:
        for name, stats in zip(("high", "high_one_tile"), scenarios.high_scenes(), strict=True):
            measured.add(f"{name}_ttft_s", stats.ttft_s)
            measured.add(f"{name}_caption_s", stats.total_s)
    second = scenarios.second_question()
    measured.add("second_ttft_s", second.ttft_s)
    measured.add("prompt_tokens", new.prompt_tokens)
    measured.add("labels_ratio", scenarios.labels())
    measured.add("looks_ratio", scenarios.looks())
    if scenarios.shares_passes:
        measured.add("together_ratio", scenarios.together())


def _accepted_share(stats: Stats) -> float | None:
    """Return accepted over drafted tokens; None without drafts."""
    return stats.accepted / stats.drafted if stats.drafted else None
