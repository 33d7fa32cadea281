"""Count the names that stay the same if the classifier's weights are rounded.

`python -m tools.small_models.number_formats PICTURE...` compares float16 weights, int8 weights (one
scale for each output channel) and the committed file as it runs here with the published float32.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from tools.small_models.efficientnet import Network, published
from vlm.classify.classifier import load_classifier, views_of
from vlm.classify.hedging import hedged_labels
from vlm.classify.words import Floats, load_words
from vlm.images.decode import decode_image

Rounding = Callable[[torch.Tensor], torch.Tensor]

# Parts of a picture that count as pictures of their own: left, top, right, bottom.
_PARTS: Final = (
    (0.0, 0.0, 1.0, 1.0),
    (0.0, 0.0, 0.6, 0.6),
    (0.4, 0.0, 1.0, 0.6),
    (0.0, 0.4, 0.6, 1.0),
    (0.4, 0.4, 1.0, 1.0),
)


def to_float16(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights as float16 holds them."""
    return weights.half().float()


def to_int8(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights as symmetric int8 holds them, with a scale for each output channel."""
    rows = weights.flatten(1)
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return ((rows / scale).round() * scale).view_as(weights)


def rounded(network: Network, rounding: Rounding) -> Network:
    """Return a copy of the network whose convolutions and last layer have rounded weights."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.weight.data = rounding(layer.weight.data)
    return network


def main(argv: Sequence[str]) -> int:
    """Print for each number format how often top class and names are those of float32."""
    parser = argparse.ArgumentParser(prog="python -m tools.small_models.number_formats")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    pictures = list(_pictures(parser.parse_args(argv).pictures))
    classifier = load_classifier()
    with published() as network:
        expected = [_by_torch(network, picture) for picture in pictures]
        found = {
            "float16 weights": _all_by_torch(rounded(network, to_float16), pictures),
            "int8 weights": _all_by_torch(rounded(network, to_int8), pictures),
            "as it runs here": [classifier.probabilities(picture) for picture in pictures],
        }
    said = sum(bool(_names(probabilities)) for probabilities in expected)
    print(f"{len(pictures)} pictures and parts of pictures, {said} of them with a name")
    for name, answers in found.items():
        print(f"{name}: {_agreement(expected, answers)}")
    return 0


def _agreement(expected: Sequence[Floats], found: Sequence[Floats]) -> str:
    pairs = list(zip(expected, found, strict=True))
    same_top = np.mean([one.argmax() == other.argmax() for one, other in pairs])
    same_names = np.mean([_names(one) == _names(other) for one, other in pairs])
    largest = max(float(np.abs(one - other).max()) for one, other in pairs)
    return (
        f"the same names {same_names:.3f}, the same top class {same_top:.3f}, "
        f"largest change of a probability {largest:.3f}"
    )


def _names(probabilities: Floats) -> set[str]:
    return {label.name for label in hedged_labels(load_words(), probabilities)}


def _all_by_torch(network: Network, pictures: Sequence[Image.Image]) -> list[Floats]:
    return [_by_torch(network, picture) for picture in pictures]


def _by_torch(network: Network, picture: Image.Image) -> Floats:
    pixels = torch.from_numpy(np.stack([np.asarray(view) for view in views_of(picture)]))
    with torch.no_grad():
        probabilities, _ = network(pixels)
    mean: Floats = probabilities.mean(0).numpy()
    return mean


def _pictures(paths: Sequence[Path]) -> Iterator[Image.Image]:
    for path in paths:
        picture = decode_image(path.read_bytes())
        width, height = picture.size
        for left, top, right, bottom in _PARTS:
            yield picture.crop((left * width, top * height, right * width, bottom * height))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
