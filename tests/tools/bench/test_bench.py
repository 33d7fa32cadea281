"""The benchmark: what it prints, that it measures what it claims, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counting_runtime import counting
from tools.bench.__main__ import main
from tools.bench.frames import cornered, drawn_scene, noisy, panned, touched
from tools.bench.machine import bytes_read_per_token
from tools.bench.measurements import percentile, spread
from tools.bench.references import Reference
from tools.bench.scenarios import Scenarios
from vlm.checkpoints.files import model_size
from vlm.engine.engine import Engine
from vlm.errors import BadRequestError
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Result
from vlm.settings import Settings
from vlm.types import Request

TOKENS = 24
WAYS = ("transformers", "transformers-default")
POSITIVE = (
    "ttft_s",
    "decode_ms",
    "caption_s",
    "moving_caption_s",
    "steady_caption_s",
    "second_ttft_s",
    "second_ttft_ratio",
    "load_cold_s",
    "load_cached_s",
    "peak_rss_mb",
    "memory_gb_per_s",
    "text_weights_mb",
    "decode_limit_ms",
    "decode_limit_share",
)
# Differences, which noise may make negative, and a share that may be zero.
FINITE = ("steady_extra_ms", "http_ttft_ms", "http_token_ms", "moving_accepted_share")


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The lines that a run prints that measures everything."""
    flags = ["--device", "cpu", "--repeats", "1", "--starts", "1", "--http"]
    with redirect_stdout(StringIO()) as out:
        assert main([*flags, "--tokens", "6", "--against", ",".join(WAYS)]) == 0
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def report(printed: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed[-1])
    return found


@pytest.fixture(scope="module")
def endless() -> Engine:
    settings = Settings(model="nano", runtime="torch", device="cpu", dtype="float32")
    return load_engine(settings, stop_token_ids=frozenset())


@pytest.fixture(scope="module")
def scenarios(endless: Engine) -> Scenarios:
    return Scenarios(endless, drawn_scene(0), DEFAULT_PROMPT, TOKENS)


@pytest.fixture(scope="module")
def reference(nano_dir: Path) -> Reference:
    return Reference(nano_dir, "float32", "cpu")


def test_last_line_has_every_figure(report: dict[str, Any]) -> None:
    for key in POSITIVE:
        assert math.isfinite(report[key]), key
        assert report[key] > 0, key
    for key in FINITE:
        assert math.isfinite(report[key]), key
    assert report["video"] is None


def test_table_comes_first(printed: list[str]) -> None:
    assert any(line.startswith("time to first token, s") for line in printed)
    assert all(any(line.startswith(f"{way}, ") for line in printed) for way in WAYS)


def test_ratios_are_ours_over_theirs(report: dict[str, Any]) -> None:
    shares = ("0.03", "0.10", "0.25", "0.50", "1.00")
    others = ("whole", *WAYS)
    expected = {f"changed_{share}_to_{other}" for share in shares for other in others}
    assert set(report["ratio"]) == {*WAYS, *expected, "tiny_to_low", "small_to_low"}
    tokens = {detail: ours["image_tokens"] for detail, ours in report["sides"].items()}
    assert tokens == {"tiny": 16, "small": 36, "low": 64}
    assert list(report["changed"]) == list(shares)
    patches = [ours["patches"] for ours in report["changed"].values()]
    assert patches == sorted(patches)
    assert 0 < patches[0] < patches[-1] == 256
    ratio = report["ratio"]["changed_0.10_to_whole"]["caption_s"]
    assert ratio == pytest.approx(report["changed"]["0.10"]["caption_s"] / report["caption_s"])
    for way in WAYS:
        for key in ("ttft_s", "caption_s"):
            theirs = report["against"][way][key]
            assert report["ratio"][way][key] == pytest.approx(report[key] / theirs)


def test_report_names_machine_and_model(report: dict[str, Any]) -> None:
    assert report["runtime"] in ("openvino", "torch")
    assert (report["dtype"], report["tokens"], report["repeats"]) == ("float32", 6, 1)
    assert report["machine"]["cpu"]
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["versions"]["torch"]
    assert all(report["against"][way]["dtype"] in ("bfloat16", "float32") for way in WAYS)


def test_one_of_many_tiles_changes(tiled_dir: Path) -> None:
    engine, runtime = counting(tiled_dir)
    scenarios = Scenarios(engine, drawn_scene(0), DEFAULT_PROMPT, 6)
    assert scenarios.tiles.tiles == 5
    for _ in range(2):
        before = runtime.encoded_tiles
        for stats in scenarios.high_scenes():
            assert (stats.tokens, stats.image_tokens) == (6, 5 * 64)
        # All of them, then the changed one and the whole.
        assert runtime.encoded_tiles - before == 5 + 2


def test_captions_have_the_requested_length_without_stop_tokens(
    engine: Engine, scenarios: Scenarios, reference: Reference
) -> None:
    scene = drawn_scene(0)
    *_, done = engine.stream(Request.about(scene, DEFAULT_PROMPT, TOKENS))
    assert isinstance(done, Result)
    assert done.stats.tokens < TOKENS
    for scenario in (
        scenarios.new_scene,
        scenarios.moving_scene,
        scenarios.steady_scene,
        scenarios.second_question,
    ):
        assert scenario().tokens == TOKENS
    for way in WAYS:
        assert reference.caption(way, scene, DEFAULT_PROMPT, TOKENS).tokens == TOKENS


def test_new_scene_is_decoded_without_a_draft(scenarios: Scenarios) -> None:
    assert [scenarios.new_scene().drafted for _ in range(3)] == [0, 0, 0]


def test_steady_scene_accepts_its_whole_draft(scenarios: Scenarios) -> None:
    scenarios.steady_scene()
    stats = scenarios.steady_scene()
    assert stats.accepted == stats.drafted == TOKENS - 1


def test_moving_scene_is_drafted_from_the_last_caption(scenarios: Scenarios) -> None:
    scenarios.moving_scene()
    assert scenarios.moving_scene().drafted > 0


def test_too_many_tokens_for_the_context_are_refused(endless: Engine) -> None:
    with pytest.raises(BadRequestError, match="--tokens"):
        Scenarios(endless, drawn_scene(0), DEFAULT_PROMPT, 100_000)


def test_all_frames_differ() -> None:
    scene = drawn_scene(0)
    makers = (touched, cornered, noisy, panned)
    frames = [make(scene, number) for make in makers for number in range(1, 9)]
    assert len({frame.tobytes() for frame in [scene, drawn_scene(1), *frames]}) == 34


def test_both_ways_of_transformers_have_the_same_prompt(reference: Reference) -> None:
    # The bundled model's own tiling makes one tile of each frame.
    one, other = (
        reference.caption(way, drawn_scene(0), DEFAULT_PROMPT, 2).prompt_tokens for way in WAYS
    )
    assert one == other


def test_token_reads_each_text_weight_once(nano_dir: Path) -> None:
    as_float32 = bytes_read_per_token(nano_dir, "float32")
    assert as_float32 == 4 * bytes_read_per_token(nano_dir, "int8")
    assert as_float32 == bytes_read_per_token(nano_dir, "float32, int8 vision")
    assert as_float32 / 8 < bytes_read_per_token(nano_dir, "int4") < as_float32 / 4
    assert 0 < as_float32 < 4 * model_size(nano_dir).parameters


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tokens", "0"], "--tokens"),
        (["--tokens", "1"], "--tokens"),
        (["--tokens", "many"], "--tokens"),
        (["--repeats", "0"], "--repeats"),
        (["--starts", "-1"], "--starts"),
        (["--fps", "nan"], "--fps"),
        (["--against", "onnx"], "'onnx'"),
        (["--against-dtype", "int3"], "--against-dtype"),
        (["--runtime", "abacus"], "'abacus'"),
        (["--dtype", "int3"], "'int3'"),
        (["--device", "toaster"], "'toaster'"),
        (["--model", "no/such/folder"], "no/such/folder"),
        (["--image", "no-such-file.jpg"], "no-such-file.jpg"),
        (["--video", "no-such-clip"], "no-such-clip"),
        (["--prompt", "\ufffd"], "prompt"),
        (["--clients", "0"], "--clients"),
        (["--clients", "many"], "--clients"),
        (["--clients", "2", "--seconds", "0"], "--seconds"),
        (["--clients", "2", "--url", "ftp://here"], "--url"),
        (["--clients", "2", "--url", "http://"], "--url"),
        (["--clients", "2", "--url", "http://here:port"], "--url"),
    ],
)
def test_unusable_option_is_refused_by_name(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert named in err
    assert out == ""


@pytest.mark.skipif(
    not (shutil.which("llama-server") and os.environ.get("LLAMA_SERVER_MODEL")),
    reason="needs llama-server on the PATH, LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ",
)
def test_llama_cpp_is_timed_beside_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--repeats", "1", "--starts", "0", "--tokens", "6", "--against", "llama.cpp"]
    assert main(flags) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    theirs = report["against"]["llama.cpp"]
    assert 0 < theirs["ttft_s"] < theirs["caption_s"]
    assert report["ratio"]["llama.cpp"]["ttft_s"] == report["ttft_s"] / theirs["ttft_s"]


def test_missing_input_ends_the_run_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.")
    assert main(["--image", str(text)]) == 1
    assert "not an image" in capsys.readouterr().err
    assert main(["--model", f"random:{tmp_path / 'none'}"]) == 1
    assert "no folder" in capsys.readouterr().err
    monkeypatch.setenv("LLAMA_SERVER_MODEL", str(tmp_path / "none.gguf"))
    assert main(["--against", "llama.cpp", "--starts", "0"]) == 1
    assert "LLAMA_SERVER_MODEL" in capsys.readouterr().err


def test_failure_in_a_child_process_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--runtime", "torch", "--dtype", "int8"]) == 1
    assert "--dtype int8 is for OpenVINO" in capsys.readouterr().err


def test_clip_has_its_own_figures_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        Image.new("RGB", (64, 48), ("red", "lime", "blue")[number]).save(tmp_path / f"{number}.png")
    flags = ["--runtime", "torch", "--device", "cpu", "--tokens", "4", "--fps", "0.1"]
    assert main([*flags, "--video", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    # Three frames of ten seconds each: each is sent, because a heartbeat is due.
    assert report["video"]["captions"] == 3
    assert report["video"]["clip_s"] == 30
    assert all(report[key] is None for key in (*POSITIVE, *FINITE))
    assert report["ratio"] == {}


def test_percentile_interpolates() -> None:
    values = [0.4, 0.1, 0.3, 0.2, 0.5]
    assert percentile(values, 0.5) == 0.3
    assert percentile(values, 0.95) == pytest.approx(0.48)
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([], 0.5) is None


def test_spread_is_minimum_median_and_maximum() -> None:
    assert spread([3.0, 1.0, 2.0, 8.0]) == {"min": 1.0, "median": 2.5, "max": 8.0}
    assert spread([]) is None
