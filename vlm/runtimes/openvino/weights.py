"""Number formats of the weights of a converted model: int8, int4 and lossless bfloat16.

Call `platform.import_openvino`, which disables telemetry, before this module is imported.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino.op import Constant
from openvino.opset13 import constant, convert, multiply, reshape, subtract

Weights = npt.NDArray[np.float32]

_LARGEST_INT8: Final = 127
_LARGEST_UINT4: Final = 15
_INT4_GROUPS: Final = (64, 48, 32, 16)
# Shares of the range of a group's numbers: a few large ones are cut off if that pays.
_PARTS_OF_RANGE: Final = (1.0, 0.95, 0.9, 0.85, 0.8)
# Smaller constants (norms, scalars) are not worth storing in bfloat16.
_FEWEST_NUMBERS: Final = 4096
_BELOW_BFLOAT16: Final = 0xFFFF


def quantise_matrices(model: Any, bits: int = 8, head_rows: int = 0) -> int:
    """Store the matrices of `model` in 8 or 4 bits; return their number.

    With 4 bits the matrix of `head_rows` rows has 8: its rows are the words to choose from.
    """
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        matrix = node.input_value(1).get_node()
        if matrix.get_type_name() != "Constant" or len(matrix.shape) != 2:
            continue
        rows = matrix.data
        group = _group_of(rows.shape[1])
        is_int4 = bits == 4 and group and len(rows) != head_rows
        stored = _in_int4(rows, group) if is_int4 else _in_int8(rows)
        node.input(1).replace_source_output(stored.output(0))
        count += 1
    return count


def _in_int8(rows: Weights) -> Any:
    """Return a node with `rows`, a scale for each."""
    scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(_LARGEST_INT8)
    scales[scales == 0] = 1
    stored = constant(np.rint(rows / scales).astype(np.int8))
    return multiply(convert(stored, "f32"), constant(scales))


def _in_int4(rows: Weights, group: int) -> Any:
    """Return a node with `rows`, a scale and a zero point for each `group` of numbers of a row."""
    groups = rows.reshape(len(rows), -1, group)
    levels, zeros, scales = int4_levels(groups)
    stored = subtract(convert(_packed(levels), "f32"), convert(_packed(zeros), "f32"))
    return reshape(multiply(stored, constant(scales)), constant(np.array(rows.shape)), False)


def int4_levels(groups: Weights) -> tuple[Weights, Weights, Weights]:
    """Return levels of 0 to 15, zero points and scales of the numbers of each group.

    A number is (level - zero point) * scale. The last axis of `groups` is the group. Of several
    ranges, the one with the smallest squared error is taken.
    """
    low = np.minimum(groups.min(axis=-1, keepdims=True), 0)
    high = np.maximum(groups.max(axis=-1, keepdims=True), 0)
    least = np.full(low.shape, np.inf, np.float32)
    levels, zeros, scales = np.empty_like(groups), np.empty_like(low), np.empty_like(low)
    for part in _PARTS_OF_RANGE:
        scale = (high - low) * np.float32(part / _LARGEST_UINT4)
        scale[scale == 0] = 1
        zero = np.rint(-low * np.float32(part) / scale).clip(0, _LARGEST_UINT4)
        level = np.rint(groups / scale + zero).clip(0, _LARGEST_UINT4)
        error = (((level - zero) * scale - groups) ** 2).sum(axis=-1, keepdims=True)
        is_better = error < least
        for best, new in ((least, error), (zeros, zero), (scales, scale), (levels, level)):
            np.copyto(best, new, where=is_better)
    return levels, zeros, scales


def _packed(levels: Weights) -> Any:
    """Return a constant of unsigned 4-bit numbers; two in a byte, the first in its lower half."""
    numbers = levels.astype(np.uint8).ravel()
    numbers = np.append(numbers, np.zeros(numbers.size % 2, np.uint8))
    packed = numbers[::2] | numbers[1::2] << 4
    tensor = ov.Tensor(packed, ov.Shape(levels.shape), ov.Type.u4)
    return Constant(tensor, shared_memory=False)


def _group_of(columns: int) -> int:
    """Return the largest group that divides a row of `columns` numbers, 0 if none does."""
    return next((group for group in _INT4_GROUPS if columns % group == 0), 0)


def store_in_bfloat16(model: Any) -> None:
    """Store the float32 constants of `model` in bfloat16 if that is lossless."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        bits = node.data.view(np.uint32)
        if bits.size < _FEWEST_NUMBERS or np.any(bits & _BELOW_BFLOAT16):
            continue
        high = np.ascontiguousarray(bits >> 16).astype(np.uint16)
        tensor = ov.Tensor(high, ov.Shape(node.shape), ov.Type.bf16)
        stored = convert(Constant(tensor, shared_memory=False), "f32").output(0)
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(stored)
