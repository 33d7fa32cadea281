"""Shared fixtures: checkpoints, engines over them, and frames."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from engine_kit import torch_runtime
from tools.nano.scenes import make_frame
from tools.random_checkpoint import make_random
from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.models.loading import load_engine
from vlm.processing.tokenizer import stop_ids
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.settings import Settings
from vlm.types import Request
from worker_kit import QUESTION

pytest_plugins = ["web_fixtures"]

ROOT = Path(__file__).resolve().parent.parent
FRAME_COUNT = 20
_CAMERAS = itertools.count()


def pytest_configure() -> None:
    """Let the processes that tests start react to SIGINT and SIGTERM.

    A shell starts background jobs with SIGINT ignored, which child processes inherit.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return this run's folder for converted models; servers that tests start use it, too."""
    folder = tmp_path_factory.mktemp("cache")
    # The processes of one run share conversions; an entry appears whole or not at all.
    run_folder = folder.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_CACHE", str(run_folder / "converted"))
        # Servers that tests start download nothing, and find none of this machine's downloads.
        patch.setenv("SIGHTLINE_OFFLINE", "1")
        patch.setenv("HF_HOME", str(folder / "hub"))
        # Nothing is kept in the timeline of the person who runs the tests.
        patch.setenv("SIGHTLINE_DATA", str(folder / "data"))
        yield folder


@pytest.fixture(scope="session")
def nano_dir() -> Path:
    """The bundled checkpoint."""
    assert (BUNDLED_FOLDER / "config.json").is_file(), "the bundled checkpoint is missing"
    return BUNDLED_FOLDER


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Files that only some machines have beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs ../shared ({folder} is not there)")
    return folder


@pytest.fixture(scope="session")
def smolvlm_dir(shared_dir: Path) -> Path:
    """SmolVLM-256M's published configuration, processor and tokenizer; no weights."""
    return shared_dir / "smolvlm-256m-instruct"


@pytest.fixture(scope="session")
def exact_shape_dir(smolvlm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of SmolVLM-256M's exact shape with random weights."""
    folder = tmp_path_factory.mktemp("random") / "smolvlm-256m"
    make_random(smolvlm_dir, folder)
    return folder


@pytest.fixture(scope="session")
def engine(nano_dir: Path) -> Engine:
    """The bundled model on the CPU in float32; use it from one thread at a time."""
    return load_engine(Settings(model="nano", device="cpu", runtime="torch", dtype="float32"))


@pytest.fixture(scope="session")
def stops(nano_dir: Path) -> frozenset[int]:
    """The tokens that end the bundled model's answers."""
    return stop_ids(nano_dir, InputBuilder.load(nano_dir).tokenizer)


@pytest.fixture(scope="session")
def builder(nano_dir: Path) -> InputBuilder:
    """The bundled model's inputs."""
    return InputBuilder.load(nano_dir)


@pytest.fixture(scope="session")
def openvino(nano_dir: Path) -> OpenVinoRuntime:
    """The bundled model in OpenVINO and float32; its states are separate."""
    pytest.importorskip("openvino")
    return OpenVinoRuntime.load(nano_dir, precision_here("float32", 0), print)


@pytest.fixture(scope="session")
def endless_engine(nano_dir: Path) -> Engine:
    """The bundled model without end tokens: each answer reaches max_tokens."""
    runtime = torch_runtime(nano_dir)
    return Engine(runtime, InputBuilder.load(nano_dir), frozenset(), "endless")


@pytest.fixture(scope="session")
def tiled_dir(nano_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's shape with random weights, and up to four tiles for detail=high."""
    folder = tmp_path_factory.mktemp("random") / "tiled"
    make_random(nano_dir, folder)
    config_file = folder / "processor_config.json"
    config = json.loads(config_file.read_text())
    side_px = config["image_processor"]["max_image_size"]["longest_edge"]
    config["image_processor"]["size"] = {"longest_edge": 2 * side_px}
    config_file.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def tiled_engine(tiled_dir: Path) -> Engine:
    """Over `tiled_dir`, on the CPU in float32."""
    return load_engine(
        Settings(model=str(tiled_dir), device="cpu", runtime="torch", dtype="float32")
    )


@pytest.fixture(scope="session")
def exact_shape_engine(exact_shape_dir: Path) -> Engine:
    """The exact-shape checkpoint on the CPU in float32."""
    return load_engine(
        Settings(model=str(exact_shape_dir), device="cpu", runtime="torch", dtype="float32")
    )


@pytest.fixture(scope="session")
def frames() -> list[Image.Image]:
    """FRAME_COUNT different scenes of the kind that the bundled model knows."""
    return [make_frame(seed, "test").image for seed in range(FRAME_COUNT)]


@pytest.fixture
def request_for(frames: list[Image.Image]) -> Callable[[int], Request]:
    """`request_for(n)` returns a request about frame n, each time from another camera."""

    def make(index: int, max_tokens: int = 8) -> Request:
        # Another camera has no earlier answer to draft from, so each token is one step.
        camera = f"camera-{next(_CAMERAS)}"
        return Request.about(frames[index], QUESTION, max_tokens, camera=camera)

    return make
