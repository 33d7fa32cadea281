"""The bundled dual encoder: it names what nano was taught, and shares nano's encoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.evals.truth.scenes import single_objects
from tools.nano.pair_texts import LABELS, claims_of, facts_of, name_claims, truth_of
from tools.nano.scenes import make_frame
from tools.nano.train_pair import siglip_loss
from vlm.finder.meaning import Meaning
from vlm.finder.parts import Part
from vlm.pairs.nano_pair import FOLDER, MAX_TOKENS, NanoPair
from vlm.pairs.pair import Pair, probabilities
from vlm.scheduler.worker import Worker
from vlm.types import Request

pytest.importorskip("openvino")

_CLOSE = 1e-5
_SCENES = 40


@pytest.fixture(scope="module")
def pair() -> NanoPair:
    return NanoPair()


@pytest.fixture(scope="module")
def meaning(pair: NanoPair, web_worker: Worker) -> Iterator[Meaning]:
    part: Part[Pair] = Part("dual encoder", pair.name, lambda: pair)
    yield Meaning(part, web_worker)


def test_it_names_what_a_frame_shows(pair: NanoPair) -> None:
    made = list(single_objects(_SCENES, "held_out"))
    images = pair.image_vectors([frame.image for frame, _ in made])
    likely = probabilities(pair, images, pair.text_vectors(LABELS))
    found = [LABELS[index] for index in likely.argmax(1)]
    right = sum(name == label for (_, name), label in zip(made, found, strict=True))
    assert right >= 0.95 * _SCENES
    assert np.all((likely >= 0) & (likely <= 1))


def test_vectors_have_length_1_whatever_the_text(pair: NanoPair) -> None:
    texts = ("", "red star", "RED STAR", "🟥 ⭐", "<image><|im_end|>", "star " * 4 * MAX_TOKENS)
    vectors = pair.text_vectors(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=_CLOSE)
    np.testing.assert_array_equal(vectors[1], vectors[2])
    alone = np.concatenate([pair.text_vectors([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=_CLOSE)
    assert pair.text_vectors([]).shape == pair.image_vectors([]).shape == (0, pair.width)


def test_a_captioned_frame_costs_only_the_head(
    pair: NanoPair, meaning: Meaning, web_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_frame(3, "held_out").image
    expected = pair.image_vectors([image])
    web_worker.submit(Request.about(image, "What is this?", 4)).next(60)
    monkeypatch.setattr(pair, "_encoder", None)
    monkeypatch.setattr("vlm.pairs.nano_pair.NanoEncoder", None)
    np.testing.assert_allclose(meaning.image_vectors([image]), expected, atol=1e-3)
    np.testing.assert_array_equal(
        meaning.text_vectors(["red star"]), pair.text_vectors(["red star"])
    )


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in Path(FOLDER).iterdir()) <= 1.5e6


def test_the_loss_is_the_formula() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    is_true = torch.tensor([[True, False], [False, True]])
    each = [np.log1p(np.exp(z)) for z in (-2.0, -1.0, 0.5, -3.0)]
    assert siglip_loss(logits, is_true).item() == pytest.approx(sum(each) / 2)


def test_texts_are_true_of_the_frames_that_show_all_they_name() -> None:
    rng = np.random.default_rng(0)
    for seed in range(60):
        scene = make_frame(seed, "test").scene
        facts = facts_of(scene)
        claims = claims_of(scene, rng)
        truth = truth_of(claims, [facts])[0]
        assert truth[0]
        # Only the last one may be wrong: it has the colours of two objects exchanged.
        assert truth[:-1].all() or len(scene.objects) < 2
        labels = {claim.text for claim in name_claims(rng) if claim.needs <= facts}
        named = {each.shape for each in scene.objects}
        assert not labels or any(shape in text for shape in named for text in labels)
