"""rapidocr runs on OpenVINO with a bounded cache, offline, and one frame at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from reading_kit import picture, texts
from vlm.errors import ReaderUnavailableError
from vlm.reading.plausible import MAX_LINES
from vlm.reading.rapidocr_reader import MODELS, RapidOcrReader
from vlm.reading.reader import Reader, load_reader, read_mirrored

ROOT = Path(__file__).resolve().parents[2]
TWO_SIGNS = picture((640, 480), ("Fire door", 60, 80), ("Platform 9", 300, 320), colours=1)


class Calls:
    """The calls of rapidocr's engines: what each got, and how many ran at once."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []
        self.options: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    def begin(self, picture: np.ndarray, options: dict[str, Any]) -> None:
        with self._lock:
            self.pictures.append(picture)
            self.options.append(options)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)

    def end(self) -> None:
        with self._lock:
            self._running -= 1


@pytest.fixture
def calls(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    from rapidocr import RapidOCR

    seen, original = Calls(), RapidOCR.__call__

    def call(self: RapidOCR, picture: np.ndarray, **options: Any) -> Any:
        seen.begin(picture, options)
        try:
            return original(self, picture, **options)
        finally:
            seen.end()

    monkeypatch.setattr(RapidOCR, "__call__", call)
    yield seen


def test_engines_get_blue_first_and_no_options(reader: Reader, calls: Calls) -> None:
    reader.read(Image.new("RGB", (100, 80), (255, 128, 0)))
    assert [tuple(each[0, 0]) for each in calls.pictures] == [(0, 128, 255)]
    reader.read(TWO_SIGNS)
    # rapidocr keeps the options of a call for later calls.
    assert not any(calls.options)


def test_frames_of_many_threads_are_read_one_after_the_other(reader: Reader, calls: Calls) -> None:
    frames = [picture((480, 360), (sign, 40, 100 + 20 * i)) for i, sign in enumerate("ABCD" * 2)]
    frames[::2] = [TWO_SIGNS] * 4
    alone = [reader.read(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(reader.read, frames))
    assert calls.most_at_once == 1
    assert together == alone


def test_a_frame_is_read_the_same_whatever_came_before(reader: Reader) -> None:
    first = reader.read(TWO_SIGNS)
    reader.read(picture((1280, 720), ("Caution", 700, 300)))
    reader.read(Image.new("RGB", (300, 200)))
    assert reader.read(TWO_SIGNS) == first
    assert texts(first) == ["Fire door", "Platform 9"]


def test_mirrored_pictures_are_read_only_if_a_person_says_so(reader: Reader) -> None:
    mirrored = ImageOps.mirror(TWO_SIGNS)
    assert not {*texts(reader.read(mirrored))} & {"Fire door", "Platform 9"}
    read = read_mirrored(reader, mirrored)
    assert texts(read) == ["Fire door", "Platform 9"]
    for line, straight in zip(read, reader.read(TWO_SIGNS), strict=True):
        left, top, right, bottom = straight.box
        assert line.box == (1 - right, top, 1 - left, bottom)


@pytest.mark.parametrize("size", [(1, 1), (31, 3), (2048, 3), (2, 1500)], ids=str)
def test_tiny_and_thin_pictures_hold_no_text(reader: Reader, size: tuple[int, int]) -> None:
    assert reader.read(Image.new("RGB", size, (250, 250, 250))) == []


def test_a_page_of_too_many_lines_is_cut(reader: Reader, calls: Calls) -> None:
    rows = [
        (f"{row}{word}", 10 + 120 * word, 8 + 24 * row) for row in range(30) for word in range(5)
    ]
    read = reader.read(picture((620, 736), *rows, letters_px=16))
    assert MAX_LINES - 10 <= len(read) <= MAX_LINES
    # One call to find them, and for each line one or two ways up.
    assert len(calls.pictures) <= 1 + 3 * MAX_LINES


def test_no_line_is_read_for_a_client_that_has_left(reader: Reader, calls: Calls) -> None:
    assert reader.read(TWO_SIGNS, lambda: True) == []
    assert calls.pictures == []
    # It leaves after its lines were found.
    assert reader.read(TWO_SIGNS, lambda: len(calls.pictures) > 0) == []
    assert len(calls.pictures) == 1


def test_models_are_compiled_with_a_bounded_cache_and_fixed_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import openvino

    compiled: list[dict[str, Any]] = []
    original = openvino.Core.compile_model

    def compile_model(self: Any, model: Any, device_name: str, config: Any = None) -> Any:
        made = original(self, model, device_name, config)
        if config:
            read_back = {
                name: made.get_property(name)
                for name in ("INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT")
            }
            # The plugin accepts the bound of the cache but does not give it back.
            bound = config["CPU_RUNTIME_CACHE_CAPACITY"]
            compiled.append(read_back | {"CPU_RUNTIME_CACHE_CAPACITY": bound})
        return made

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    assert texts(RapidOcrReader(threads=2).read(TWO_SIGNS)) == ["Fire door", "Platform 9"]
    expected = {
        "INFERENCE_NUM_THREADS": 2,
        "INFERENCE_PRECISION_HINT": openvino.Type.f32,
        "CPU_RUNTIME_CACHE_CAPACITY": 32,
    }
    assert compiled == [expected] * len(MODELS)


def test_a_damaged_model_is_an_error_and_not_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rapidocr
    import requests

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rapidocr began a download")

    monkeypatch.setattr(requests, "get", refuse)
    for name in MODELS.values():
        shutil.copy(Path(rapidocr.__file__).parent / "models" / name, tmp_path)
    damaged = tmp_path / MODELS["Rec"]
    damaged.write_bytes(damaged.read_bytes()[:100_000])
    with pytest.raises(ReaderUnavailableError, match="cannot be loaded"):
        RapidOcrReader(tmp_path)
    damaged.unlink()
    with pytest.raises(ReaderUnavailableError, match=MODELS["Rec"]):
        RapidOcrReader(tmp_path)


def test_reader_is_loaded_once(reader: Reader) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {id(each) for each in pool.map(lambda _: load_reader(), range(4))} == {id(reader)}


_WITHOUT_A_NETWORK = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("a connection was opened")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from PIL import Image
from vlm.reading.reader import load_reader

reader = load_reader()
for path in sys.argv[1:]:
    print(*[line.text for line in reader.read(Image.open(path).convert("RGB"))], sep=";")
assert sys.modules["openvino_telemetry"] is None
"""


def test_reader_opens_no_connection_and_logs_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / "signs.png", tmp_path / "blank.png"]
    TWO_SIGNS.save(paths[0])
    Image.new("RGB", (64, 48)).save(paths[1])
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_A_NETWORK, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Fire door;Platform 9\n\n", "")


_MANY_SIZES = """
import psutil
from numpy.random import default_rng
from reading_kit import SIGNS, picture
from vlm.reading.reader import load_reader

reader, rng, process = load_reader(), default_rng(5), psutil.Process()
for number in range(1, 701):
    size = int(rng.integers(160, 900)), int(rng.integers(120, 700))
    lines = [
        (" ".join(rng.choice(SIGNS, rng.integers(1, 4))), int(rng.integers(0, size[0] // 2)), top)
        for top in range(20, 20 + 60 * int(rng.integers(1, 4)), 60)
    ]
    letters_px = int(rng.integers(12, 40))
    reader.read(picture(size, *lines, letters_px=letters_px, colours=number))
    if number in (50, 700):
        print(process.memory_info().rss)
"""


@pytest.mark.slow
def test_memory_stays_bounded_over_frames_of_many_sizes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MANY_SIZES],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    after_50, after_700 = map(int, done.stdout.split())
    assert after_700 / after_50 <= 1.10
