"""`transformers serve` with the bundled model as the upstream; skipped if it is missing.

TRANSFORMERS_SERVE_PYTHON names a Python with the package `transformers[serving]`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw
from remote_kit import caption

from engine_kit import with_task
from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from vlm.types import Request, Sampling
from web_client import free_port

PYTHON = os.environ.get("TRANSFORMERS_SERVE_PYTHON", "")

pytestmark = pytest.mark.skipif(not PYTHON, reason="needs TRANSFORMERS_SERVE_PYTHON")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteEngine]:
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log"
    serve = [PYTHON, "-m", "transformers.cli.transformers", "serve", str(BUNDLED_FOLDER)]
    args = [*serve, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent)}
    with (
        log.open("w") as out,
        subprocess.Popen(args, stdout=out, stderr=out, env=environment) as server,
    ):
        # Its list of models fails (500) while the cache of downloads is empty.
        settings = Settings(
            engine="openai",
            base_url=(f"http://127.0.0.1:{port}",),
            remote_model=str(BUNDLED_FOLDER),
        )
        engine = RemoteEngine(settings)
        try:
            engine.open(lambda _: engine.stop_waiting() if server.poll() is not None else None)
            yield engine
        finally:
            engine.close()
            server.kill()


def circle() -> Image.Image:
    image = Image.new("RGB", (512, 384), "white")
    ImageDraw.Draw(image).ellipse((150, 80, 350, 280), fill="red")
    return image


def test_a_frame_is_captioned_also_with_fields_that_it_refuses(engine: RemoteEngine) -> None:
    frame = Request.about(circle(), "Describe this image briefly.", 24, camera="door")
    assert caption(engine, frame).text == "A red circle."
    sampled = with_task(frame, sampling=Sampling(0.1, seed=3, top_k=1, min_p=0.5))
    for _ in range(2):
        assert caption(engine, sampled).text == "A red circle."
    assert engine.upstreams()[0].failures == 0


def test_the_token_limit_is_kept(engine: RemoteEngine) -> None:
    result = caption(engine, Request.about(circle(), "Describe this image briefly.", 2))
    assert (result.finish_reason, result.stats.tokens) == ("length", 2)
