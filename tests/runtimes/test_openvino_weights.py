"""Matrices in 8 and 4 bits: what is stored, and what OpenVINO makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

ov = pytest.importorskip("openvino")

from openvino.opset13 import constant, matmul, parameter  # noqa: E402

from vlm.runtimes.openvino.platform import compile_on_cpu  # noqa: E402
from vlm.runtimes.openvino.weights import int4_levels, quantise_matrices  # noqa: E402

Values = np.ndarray[Any, np.dtype[np.float32]]
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


def numbers(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "groups",
    [
        numbers(5, 3, 64),
        numbers(5, 3, 16) + 4,
        -np.abs(numbers(2, 1, 32)),
        np.where(numbers(4, 2, 64) > 2.5, 30, numbers(4, 2, 64)).astype(np.float32),
        np.zeros((2, 2, 16), np.float32),
        np.full((1, 1, 16), -0.25, np.float32),
    ],
    ids=["normal", "all above 0", "all below 0", "a few large ones", "zeros", "all alike"],
)
def test_int4_levels_are_as_near_as_sixteen_even_ones(groups: Values) -> None:
    levels, zeros, scales = int4_levels(groups)
    for each in (levels, zeros):
        assert np.array_equal(each, np.rint(each))
        assert each.min() >= 0
        assert each.max() <= 15
    error = ((levels - zeros) * scales - groups) ** 2
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    # Half a step of the whole range, and half a one for the rounded zero point.
    assert np.all(np.sqrt(error.mean(-1)) <= (high - low) / 15 + 1e-6)
    if not np.ptp(groups):
        assert error.max() < 1e-12


@pytest.mark.parametrize(("bits", "most_error"), [(8, 0.01), (4, 0.15)])
@pytest.mark.parametrize("columns", [64, 192, 48, 20])
def test_a_quantised_matrix_multiplies_as_the_stored_numbers(
    bits: int, most_error: float, columns: int
) -> None:
    rows, inputs = numbers(7, columns), numbers(3, columns, seed=1)
    node = parameter([-1, columns], np.float32)
    model = ov.Model([matmul(node, constant(rows), False, True)], [node])
    assert quantise_matrices(model, bits) == 1
    product = compile_on_cpu(model, EXACT)(inputs)[0]
    error = np.linalg.norm(product - inputs @ rows.T) / np.linalg.norm(inputs @ rows.T)
    assert 0 < error < most_error
    if bits == 4 and columns % 16 == 0:
        size = next(each for each in (64, 48, 32, 16) if columns % each == 0)
        levels, zeros, scales = int4_levels(rows.reshape(7, -1, size))
        stored = ((levels - zeros) * scales).reshape(rows.shape)
        assert np.allclose(product, inputs @ stored.T, atol=1e-4)


def test_the_head_of_an_int4_model_has_eight_bits() -> None:
    node = parameter([-1, 64], np.float32)
    hidden = matmul(node, constant(numbers(64, 64)), False, True)
    model = ov.Model([matmul(hidden, constant(numbers(99, 64)), False, True)], [node])
    quantise_matrices(model, 4, head_rows=99)
    stored = {
        (each.get_element_type().get_type_name(), each.shape[0])
        for each in model.get_ordered_ops()
        if each.get_type_name() == "Constant" and len(each.shape) > 1 and each.shape[-1] > 1
    }
    assert stored == {("u4", 64), ("i8", 99)}
