"""Captions whose things are checked: what is said of them, what it costs, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counting_runtime import counting
from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.finder import claims_engine
from vlm.finder.claims_engine import ClaimsEngine
from vlm.images.frame import Frame
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Check, Result, TokenChunk, Verdict
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.scheduler.protocol import never, stream_alone
from vlm.scoring.calibration import Calibration
from vlm.scoring.claims import phrases_of
from vlm.scoring.second_look import around
from vlm.types import ClaimCheck, Request


def ask(
    image: Image.Image, claims: ClaimCheck, camera: str | None = None, prompt: str = DEFAULT_PROMPT
) -> Request:
    return Frame(image, camera).request(prompt, 40, claims=claims)


def run(
    engine: Any, request: Request, is_cancelled: Callable[[], bool] = never
) -> tuple[str, Result]:
    *chunks, result = stream_alone(engine, engine.begin(request, is_cancelled))
    assert isinstance(result, Result)
    return "".join(each.text for each in chunks if isinstance(each, TokenChunk)), result


@pytest.fixture
def scene() -> Image.Image:
    frames = (make_frame(seed, "test", "objects") for seed in range(100))
    return next(each.image for each in frames if len(each.scene.objects) == 3)


def test_marks_change_no_text_and_cost_one_pass(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image
) -> None:
    inner, runtime = counting(nano_dir, stops, "nano")
    engine = ClaimsEngine(inner)
    _, plain = run(engine, ask(scene, "off"))
    assert plain.stats.claims is None and runtime.scores == 0
    text, marked = run(engine, ask(scene, "mark", "door"))
    assert text == marked.text == plain.text
    claims = marked.stats.claims
    assert claims is not None and len(claims) == 3
    assert all(each.supported and each.probability > 0.5 for each in claims)
    assert [text[each.start : each.end] for each in claims] == [each.phrase for each in claims]
    assert (runtime.encoded_tiles, runtime.prefills, runtime.scores) == (1, 1, 1)
    # The same camera again: nothing is asked; another one asks.
    assert run(engine, ask(scene, "mark", "door"))[1].stats.claims == claims
    assert runtime.scores == 1
    assert run(engine, ask(scene, "mark", "yard"))[1].stats.claims == claims
    assert runtime.scores == 2


def test_strict_captions_leave_out_what_the_model_denies(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ClaimsEngine(counting(nano_dir, stops, "nano")[0])
    _, marked = run(engine, ask(scene, "mark"))
    assert marked.stats.claims is not None
    values = sorted(each.probability for each in marked.stats.claims)

    def calibration(least: float) -> Calibration:
        return Calibration(1.0, -6.0, 1.0, 0.0, 0.5, least)

    # All but the surest things fall below, then all do.
    for least, kept in ((0.0, 3), (values[-1], None), (1.1, 0)):
        monkeypatch.setattr(
            claims_engine, "calibration_of", lambda *_, least=least: calibration(least)
        )
        text, strict = run(engine, ask(scene, "strict"))
        claims = strict.stats.claims
        assert claims is not None and len(claims) == 3
        supported = [each for each in claims if each.supported]
        assert text == strict.text
        assert kept is None or len(supported) == kept
        assert [text[each.start : each.end] for each in supported] == [
            each.phrase for each in supported
        ]
        assert all(each.start is None for each in claims if not each.supported)
        assert (strict.text == marked.text) == (len(supported) == 3)


def test_other_answers_are_as_they_were(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image
) -> None:
    inner, runtime = counting(nano_dir, stops, "nano")
    engine = ClaimsEngine(inner)
    for prompt in ("Is there a star?", "How is the light in this image?"):
        plain = run(inner, ask(scene, "off", prompt=prompt))[1].text
        text, result = run(engine, ask(scene, "strict", prompt=prompt))
        assert text == result.text == plain
    json = ask(scene, "strict")
    json = replace(json, task=replace(json.answer_task, json_object=True))
    assert run(engine, json)[1].stats.claims is None
    runtime.scores = 0
    _, cancelled = run(engine, ask(scene, "strict"), lambda: True)
    assert (cancelled.finish_reason, runtime.scores) == ("cancelled", 0)


def test_a_frame_that_was_encoded_in_part_is_not_encoded_again(
    openvino: OpenVinoRuntime,
    builder: InputBuilder,
    stops: frozenset[int],
    scene: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[int] = []
    encode_changed = openvino.encode_changed

    def count(state: Any, pixels: Any, changed: Any) -> Any:
        encoded.append(len(changed))
        return encode_changed(state, pixels, changed)

    monkeypatch.setattr(openvino, "encode_changed", count)
    engine = ClaimsEngine(Engine(openvino, builder, stops, "nano"))
    other = scene.copy()
    other.paste((255, 255, 255), (0, 0, 24, 24))
    for image in (scene, other):
        request = Frame(image, "door").request(DEFAULT_PROMPT, 40, kind="live", claims="mark")
        assert run(engine, request)[1].stats.claims
    whole, part = encoded
    assert 0 < part < whole


def test_the_boxes_witness_counts(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image
) -> None:
    class Witnessed:
        """The engine, whose results have a check of the first thing."""

        def __init__(self, verdict: Verdict) -> None:
            self._engine = counting(nano_dir, stops, "nano")[0]
            self.info, self.begin = self._engine.info, self._engine.begin
            self._verdict = verdict

        def advance(self, jobs: Any) -> Any:
            return [[self._checked(event) for event in each] for each in self._engine.advance(jobs)]

        def _checked(self, event: Any) -> Any:
            if not isinstance(event, Result):
                return event
            name = phrases_of(event.text)[0].text if event.text else ""
            checks = (Check(name, name, self._verdict),)
            return replace(event, stats=replace(event.stats, checks=checks))

    values = []
    for verdict in ("not_found", "not_checkable", "found"):
        engine: Any = ClaimsEngine(Witnessed(verdict))  # type: ignore[arg-type]
        claims = run(engine, ask(scene, "mark"))[1].stats.claims
        assert claims is not None
        values.append(claims[0].probability)
    assert values == sorted(values) and values[0] < values[1]


def test_doubtful_things_are_looked_at_once_more(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, runtime = counting(nano_dir, stops, "nano")
    engine = ClaimsEngine(inner)

    def judged(doubtful: float) -> tuple[tuple[int, int, int], Result]:
        made = Calibration(1.0, -6.0, 1.0, 0.0, 0.5, 0.5, doubtful)
        monkeypatch.setattr(claims_engine, "calibration_of", lambda *_: made)
        runtime.encoded_tiles = runtime.scores = runtime.looked = 0
        text, result = run(engine, ask(scene, "mark"))
        assert text == result.text
        return (runtime.encoded_tiles, runtime.scores, runtime.looked), result

    engine.begin(ask(scene, "off"), never).close()
    judged(0.0)
    costs, plain = judged(0.0)
    assert costs == (0, 1, 0)
    # All three: the patches of the frame once, then a part of it for each; parts may be the same.
    (tiles, *others), doubted = judged(1.1)
    assert 1 < tiles <= 1 + 3 and others == [1 + 3, 3]
    assert doubted.text == plain.text
    assert doubted.stats.claims is not None and plain.stats.claims is not None
    assert all(each.supported for each in doubted.stats.claims)
    assert [(each.phrase, each.start) for each in doubted.stats.claims] == [
        (each.phrase, each.start) for each in plain.stats.claims
    ]
    # A runtime that does not tell what it looked at leaves it at the first judgement.
    runtime.capabilities -= {"looks"}
    assert judged(1.1)[1].stats.claims == plain.stats.claims


def test_the_part_around_a_box_is_a_square_as_far_as_the_image_goes() -> None:
    image = Image.new("RGB", (200, 100))
    assert around(image, (0.4, 0.4, 0.5, 0.6)).size == pytest.approx((36, 36), abs=1)
    assert around(image, (0.0, 0.0, 1.0, 1.0)).size == (200, 100)
    assert around(image, (0.95, 0.9, 1.0, 1.0)).size == pytest.approx((14, 14), abs=1)
    assert min(around(Image.new("RGB", (1, 1)), (0, 0, 1, 1)).size) == 1
