"""OWLv2 and Grounding DINO give the boxes of transformers' own processors, on any shape of frame.

The weights are random. All tests but the slow ones use small models of the same classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detector_kit import make_grounding_dino, make_owlv2
from PIL import Image

from vlm.checkpoints.detectors import HUB_DETECTORS
from vlm.checkpoints.hub_models import HubModel
from vlm.detect.boxes import distinct_boxes
from vlm.detect.coco import DISPLAY_THRESHOLDS
from vlm.detect.transformers_detectors import GroundingDino, Owlv2, checked_phrases, load
from vlm.errors import BadRequestError, CheckpointError
from vlm.results import Box

OWLV2, GROUNDING_DINO = HUB_DETECTORS
SIZES = [(640, 480), (300, 500), (97, 31), (200, 200)]
PHRASES = ("cup", "red bottle", "traffic light")


@pytest.fixture(scope="module")
def owlv2(owlv2_folder: Path) -> Owlv2:
    return load(OWLV2, owlv2_folder, "cpu")  # type: ignore[return-value]


@pytest.fixture(scope="module")
def grounding_dino(grounding_dino_folder: Path) -> GroundingDino:
    return load(GROUNDING_DINO, grounding_dino_folder, "cpu")  # type: ignore[return-value]


@pytest.fixture(scope="module", params=["owlv2", "grounding_dino"])
def detector(request: pytest.FixtureRequest) -> Owlv2 | GroundingDino:
    """Each of the two."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Return coarse coloured noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


def results_of_transformers(
    folder: Path, image: Image.Image, phrases: Sequence[str], texts: Sequence[str]
) -> dict[str, Any]:
    """Return what transformers' documented use of the checkpoint in `folder` finds."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder, local_files_only=True)
    inputs = processor(images=image, text=[list(texts)], return_tensors="pt")
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    (result,) = processor.post_process_grounded_object_detection(
        outputs, target_sizes=[(image.height, image.width)], text_labels=[list(phrases)]
    )
    return result  # type: ignore[no-any-return]


def boxes_of(result: dict[str, Any], size: tuple[int, int]) -> list[Box]:
    """Return a result of transformers as boxes without doubles; those without a name go.

    A label can be of tokens that belong to no phrase.
    """
    labels = [label.replace("[SEP]", "").strip(" .") for label in result["text_labels"]]
    named = [index for index, label in enumerate(labels) if label]
    names = [result["text_labels"][index] for index in named]
    scores, corners = (result[key].numpy()[named] for key in ("scores", "boxes"))
    return distinct_boxes(names, scores, corners.astype(float), size)


def places(boxes: Sequence[Box]) -> list[list[float]]:
    return [[box.score, box.x0, box.y0, box.x1, box.y1] for box in boxes]


@pytest.mark.parametrize("size", SIZES)
def test_owlv2_finds_the_boxes_of_transformers(
    owlv2: Owlv2, owlv2_folder: Path, size: tuple[int, int]
) -> None:
    image = picture(size)
    texts = [f"a photo of a {phrase}" for phrase in PHRASES]
    expected = boxes_of(results_of_transformers(owlv2_folder, image, PHRASES, texts), size)
    assert expected
    assert owlv2.detect(image, PHRASES) == expected


@pytest.mark.parametrize("size", SIZES)
def test_grounding_dino_finds_the_boxes_of_transformers(
    grounding_dino: GroundingDino, grounding_dino_folder: Path, size: tuple[int, int]
) -> None:
    image = picture(size)
    result = results_of_transformers(grounding_dino_folder, image, PHRASES, PHRASES)
    expected = boxes_of(result, size)
    assert expected
    found = grounding_dino.detect(image, PHRASES)
    assert places(found) == places(expected)
    assert all(box.name in PHRASES for box in found)
    # Transformers' name is all tokens over a threshold: of one phrase, of parts, or of several.
    for box, other in zip(found, expected, strict=True):
        assert other.name not in PHRASES or box.name == other.name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [(0.1, 0.2, 0.5, 0.7), (0.55, 0.4, 0.95, 0.95)])
def test_a_thing_comes_back_where_it_is_in_the_frame(
    detector: Owlv2 | GroundingDino, size: tuple[int, int], place: tuple[float, ...]
) -> None:
    # A model that finds the bright part of its own input exactly.
    width, height = size
    pixels = [round(share * side) for share, side in zip(place, (*size, *size), strict=True)]
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), tuple(pixels))
    inputs = detector._inputs(image, PHRASES)
    bright = inputs["pixel_values"][0].mean(0) > 0.5
    ys, xs = (axis.unique().float() for axis in torch.nonzero(bright, as_tuple=True))
    scale_y, scale_x = 1 / bright.shape[0], 1 / bright.shape[1]
    x0, x1 = float(xs.min()) * scale_x, float(xs.max() + 1) * scale_x
    y0, y1 = float(ys.min()) * scale_y, float(ys.max() + 1) * scale_y

    class Outputs:
        pred_boxes = torch.tensor([[[(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]]])
        logits = torch.full((1, 1, 256), -torch.inf)

    # Each phrase, or each token, has the same score.
    if isinstance(detector, Owlv2):
        Outputs.logits = torch.zeros((1, 1, len(PHRASES)))
    else:
        Outputs.logits[..., : inputs["input_ids"].shape[1]] = 0.0
    names, _, corners = detector.found(Outputs(), inputs, size, PHRASES)
    assert len(names) == 1
    # One pixel of the model's input, in pixels of the frame.
    pixel = max(width, height) / 96
    assert corners[0] == pytest.approx(pixels, abs=1.5 * pixel)


# Tokens with a probability of 0.9, those with 0.6, and the name. The text is "cup. red bottle."; in
# letters of the small tokenizer "cup" and "bottle" are one token, "red" is three.
GROUNDING_NAMES: list[tuple[list[str], list[str], list[str]]] = [
    (["cup"], [], ["cup"]),
    (["bottle"], [], ["red bottle"]),
    (["##d"], [], ["red bottle"]),
    (["bottle"], ["cup"], ["red bottle"]),
    (["cup"], ["bottle", "r"], ["cup"]),
    (["."], ["cup"], ["cup"]),
    (["."], [], []),
    (["[CLS]", "[SEP]"], [], []),
    ([], [], []),
]


@pytest.mark.parametrize(("likely", "likely_too", "expected"), GROUNDING_NAMES)
def test_grounding_dino_names_a_box_with_a_whole_phrase(
    grounding_dino: GroundingDino, likely: list[str], likely_too: list[str], expected: list[str]
) -> None:
    phrases = ("cup", "red bottle")
    inputs = grounding_dino._inputs(picture((64, 64)), phrases)
    tokenizer = grounding_dino._processor.tokenizer
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert {*likely, *likely_too} <= set(tokens)

    class Outputs:
        pred_boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2]]])
        logits = torch.full((1, 1, 256), -torch.inf)

    for place, token in enumerate(tokens):
        probability = 0.9 if token in likely else 0.6 if token in likely_too else 0.1
        Outputs.logits[0, 0, place] = np.log(probability / (1 - probability))
    names, scores, corners = grounding_dino.found(Outputs(), inputs, (64, 64), phrases)
    assert names == expected
    assert len(scores) == len(corners) == len(expected)


def test_without_phrases_the_everyday_things_are_found(detector: Owlv2 | GroundingDino) -> None:
    assert detector.classes == ()
    boxes = detector.detect(picture((120, 90)))
    assert boxes == detector.detect(picture((120, 90)), tuple(DISPLAY_THRESHOLDS))


def test_threads_get_the_boxes_of_their_own_frames(detector: Owlv2 | GroundingDino) -> None:
    images = [picture((120, 60 + 10 * seed), seed) for seed in range(6)]
    alone = [detector.detect(image, PHRASES) for image in images]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda image: detector.detect(image, PHRASES), images)) == alone


def test_phrases_are_cleaned() -> None:
    assert checked_phrases([" a  cup. ", "", ".", "a cup", "Mr. Smith"]) == ("a cup", "Mr Smith")


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([f"thing {number}" for number in range(81)], "At most 80 things"),
        (["cup", "x" * 101], "too long. Name the thing in a few words"),
        (["letters that are not a word of the small vocabulary"] * 2, "too long"),
    ],
)
def test_too_much_text_is_refused(owlv2: Owlv2, phrases: list[str], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        owlv2.detect(picture((64, 64)), phrases)


def test_phrases_that_are_too_long_together_are_refused(grounding_dino: GroundingDino) -> None:
    with pytest.raises(BadRequestError, match="too long together"):
        grounding_dino.detect(picture((64, 64)), [f"number {n} {'z' * 20}" for n in range(20)])


def test_weights_without_a_tensor_are_refused(owlv2_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in owlv2_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["box_head.dense0.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="do not fit its config"):
        load(OWLV2, tmp_path, "cpu")


def test_a_damaged_processor_is_refused(owlv2_folder: Path, tmp_path: Path) -> None:
    for file in owlv2_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"processor in .* cannot be loaded"):
        load(OWLV2, tmp_path, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("known", "make", "parameters"),
    [(OWLV2, make_owlv2, 154_966_792), (GROUNDING_DINO, make_grounding_dino, 172_250_626)],
)
def test_a_model_of_the_published_shape_runs(
    tmp_path: Path, known: HubModel, make: Callable[..., None], parameters: int
) -> None:
    make(tmp_path, exact=True)
    known.kind.check_folder(tmp_path)
    detector = load(known, tmp_path, "cpu")
    assert sum(each.numel() for each in detector._model.parameters()) == parameters
    image = picture((640, 480))
    form = "a photo of a {}" if known is OWLV2 else "{}"
    texts = [form.format(phrase) for phrase in PHRASES]
    expected = boxes_of(results_of_transformers(tmp_path, image, PHRASES, texts), image.size)
    assert places(detector.detect(image, PHRASES)) == places(expected)
