"""Features of patches are the last hidden states of transformers' layers, on each runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine_kit import torch_runtime
from vlm.engine.inputs import InputBuilder
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime


def test_patch_features_are_the_last_hidden_states(
    openvino: OpenVinoRuntime, nano_dir: Path, builder: InputBuilder, frames: list[Image.Image]
) -> None:
    runtimes: tuple[Any, ...] = (openvino, torch_runtime(nano_dir))
    model = torch_runtime(nano_dir)._model
    for detail in ("low", "tiny"):
        tiles = [builder.image_processor.pixel_values(each, detail) for each in frames[:2]]  # type: ignore[arg-type]
        pixels = np.concatenate(tiles)
        with torch.inference_mode():
            output = model.model.vision_model(
                torch.from_numpy(pixels), output_hidden_states=True, interpolate_pos_encoding=True
            )
        expected = output.hidden_states[-1].numpy()
        for runtime in runtimes:
            encoded = runtime.encode_image(pixels)
            found = runtime.patch_features(pixels)
            assert (found.shape, found.dtype) == (expected.shape, np.float32)
            np.testing.assert_allclose(found, expected, atol=2e-3)
            # What was encoded before stays the same, and so does what comes after.
            np.testing.assert_array_equal(runtime.encode_image(pixels), encoded)


@pytest.mark.slow
def test_patch_features_in_bfloat16_are_near_those_in_float32(nano_dir: Path) -> None:
    pixels = np.random.default_rng(1).normal(size=(1, 3, 192, 192)).astype(np.float32)
    found = [
        OpenVinoRuntime.load(nano_dir, precision_here(each, 1), print).patch_features(pixels)
        for each in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=0.1, atol=0.1 * float(found[0].std()))
