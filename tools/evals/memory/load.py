"""A large timeline, odd queries, and processes that are killed while they write."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from PIL import Image
from tqdm import tqdm

from tools.evals.figures import Figure, share
from tools.evals.truth.scenes import LABELS
from tools.nano.language import sentence, with_article
from tools.nano.scenes import make_frame
from vlm.finder.meaning import Meaning
from vlm.finder.parts import Part
from vlm.images.frame import Frame
from vlm.models.loading import load_engine
from vlm.pairs.load import load_pair
from vlm.pairs.pair import Pair
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Result
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.timeline.choices import Keep
from vlm.timeline.database import reader
from vlm.timeline.query import Query
from vlm.timeline.recorder import Recorder
from vlm.timeline.search import search
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline

_BEGAN_S: Final = 1_767_225_600.0
# Beyond the pause that a moment lasts, so that each look is a moment of its own.
_EACH_S: Final = 20.0
_MOMENTS: Final = 100_000
_SETTLED_EACH: Final = 400
_SEARCHES: Final = 200
_QUERIES: Final = 10_000
_QUERY_CHARS: Final = 40
_ALPHABET: Final = "ab \"'-*():^{}[]~+&|<>/\\%_.,;=#$@!?0é中🟥\t\n\0"
_KILLS: Final = 200
_LONGEST_LIFE_S: Final = 0.4
_FRAMES: Final = 100
_TURNS: Final = 8
_CAPTION_TOKENS: Final = 64
_WAIT_S: Final = 60.0
_ON_AND_OFF: Final[tuple[Keep, ...]] = ("off", "pictures")
# Writes moments with increasing numbers, and prints each number when it was written.
_WRITER: Final = """
import sys
from pathlib import Path
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline
timeline = Timeline(Path(sys.argv[1]), chosen={"keep": "words", "days": "0"})
number = int(sys.argv[2])
while True:
    timeline.add(Look(at_s=1767225600.0 + number * 20, text=f"moment {number}", camera="kill"))
    timeline.settle()
    print(number, flush=True)
    number += 1
"""


def load_figures(scenes: int) -> list[Figure]:
    """Return the figures of a timeline with 100,000 moments; `scenes` has no effect."""
    del scenes
    with tempfile.TemporaryDirectory() as folder:
        timeline = Timeline(Path(folder) / "large.sqlite", chosen={"keep": "words", "days": "0"})
        figures = [*_speed(timeline), _queries(timeline)]
        timeline.close()
    return figures


def _speed(timeline: Timeline) -> Iterator[Figure]:
    rng = np.random.default_rng(7)
    looks = [
        Look(_BEGAN_S + index * _EACH_S, _caption(rng), camera="large") for index in range(_MOMENTS)
    ]
    began_s = time.perf_counter()
    for index, look in enumerate(tqdm(looks, "moments"), 1):
        timeline.add(look)
        # As a camera would: the queue is bounded, and never waits.
        if index % _SETTLED_EACH == 0:
            timeline.settle()
    timeline.settle()
    rate = len(looks) / (time.perf_counter() - began_s)
    status = timeline.status()
    note = f"{status.moments} moments, {status.bytes / 1e6:.0f} MB"
    yield Figure("inserts_per_s", rate, least=1000, note=note)
    took: list[float] = []
    for _ in range(_SEARCHES):
        text = LABELS[rng.integers(len(LABELS))]
        began_s = time.perf_counter()
        with timeline.reading() as connection:
            assert connection is not None, "moments were kept"
            search(connection, Query(text), timeline.vectors)
        took.append((time.perf_counter() - began_s) * 1000)
    yield Figure("search_ms", median(took), most=50, note=f"most {max(took):.0f}")


def _queries(timeline: Timeline) -> Figure:
    rng = np.random.default_rng(11)
    failed = 0
    for _ in tqdm(range(_QUERIES), "queries"):
        length = int(rng.integers(_QUERY_CHARS))
        text = "".join(_ALPHABET[index] for index in rng.integers(len(_ALPHABET), size=length))
        with timeline.reading() as connection:
            assert connection is not None, "moments were kept"
            try:
                search(connection, Query(text, limit=1), timeline.vectors)
            except Exception:
                failed += 1
    return Figure("query_errors", failed, most=0, note=f"{_QUERIES} random queries")


def kill_figures(scenes: int) -> list[Figure]:
    """Return what is lost when a writing process is killed; `scenes` has no effect."""
    del scenes
    rng = np.random.default_rng(13)
    kept = sound = 0
    with tempfile.TemporaryDirectory() as folder:
        file, written = Path(folder) / "killed.sqlite", -1
        for _ in tqdm(range(_KILLS), "kills"):
            command = [sys.executable, "-c", _WRITER, str(file), str(written + 1)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
                assert writer.stdout is not None
                first = writer.stdout.readline()
                time.sleep(rng.uniform(0, _LONGEST_LIFE_S))
                writer.send_signal(signal.SIGKILL)
                told = [int(each) for each in (first, *writer.stdout) if each.endswith("\n")]
            there, is_sound = _state_of(file)
            sound += is_sound
            kept += {*range(told[-1] + 1)} <= there
            written = max(there)
    return [
        share("killed_kept", kept, _KILLS, "kills, all that was written", least=1.0),
        share("killed_sound", sound, _KILLS, "files", least=1.0),
    ]


def caption_figures(scenes: int) -> list[Figure]:
    """Return what a timeline with pictures and vectors costs captions; at most 100 of `scenes`."""
    worker = Worker(lambda: load_engine(Settings(model="nano")), 1)
    with tempfile.TemporaryDirectory() as folder:
        timeline = Timeline(Path(folder) / "captions.sqlite", chosen={"days": "0"})
        timeline.use_meaning(Meaning(Part("dual encoder", "nano-pair", _nano_pair), worker))
        worker.subscribe(Recorder(timeline, worker))
        worker.start()
        frames = [make_frame(index, "held_out").image for index in range(min(scenes, _FRAMES))]
        ratios = []
        for turn in tqdm(range(_TURNS + 1), "on and off"):
            rates = {keep: _rate(timeline, worker, frames, keep) for keep in _ON_AND_OFF}
            if turn:
                ratios.append(rates["pictures"] / rates["off"])
        timeline.close()
        worker.close(_WAIT_S)
    note = f"median of {_TURNS} turns of {len(frames)} frames, {rates['off']:.1f} a second without"
    return [Figure("captions_ratio", median(ratios), least=0.9, note=note)]


def _rate(timeline: Timeline, worker: Worker, frames: Sequence[Image.Image], keep: Keep) -> float:
    """Return the captions a second of frames that differ, one after another."""
    timeline.choose(keep=keep)
    began_s = time.perf_counter()
    for image in frames:
        request = Frame(image, "camera").request(DEFAULT_PROMPT, _CAPTION_TOKENS, kind="live")
        with closing(worker.submit(request)) as stream:
            while not isinstance(stream.next(timeout_s=_WAIT_S), Result):
                pass
    # Nothing is left for later.
    timeline.settle()
    return len(frames) / (time.perf_counter() - began_s)


def _nano_pair() -> Pair:
    return load_pair("nano-pair")


def _state_of(file: Path) -> tuple[set[int], bool]:
    """Return the numbers of the moments in `file`, and whether SQLite finds it sound."""
    with reader(file) as connection:
        (checked,) = connection.execute("PRAGMA integrity_check").fetchone()
        texts = connection.execute("SELECT text FROM moments").fetchall()
    return {int(text.split()[1]) for (text,) in texts}, checked == "ok"


def _caption(rng: np.random.Generator) -> str:
    names = [LABELS[index] for index in rng.integers(len(LABELS), size=rng.integers(1, 5))]
    return sentence(" and ".join(map(with_article, names)))
