"""How the weights of an OpenVINO model are stored: int8 by rows, or bfloat16 where that is exact.

The CPU plugin knows both patterns, and reads int8 matrices from memory as they are. NNCF writes the
same with eleven more packages of 210 MB, scipy and scikit-learn among them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import openvino as ov
from openvino.op import Constant
from openvino.opset13 import constant, convert, multiply

_LARGEST_INT8: Final = 127
# Norms and scalars: nothing is won by storing them smaller.
_FEWEST_NUMBERS: Final = 4096
_BELOW_BFLOAT16: Final = 0xFFFF


def quantise_matrices(model: Any) -> int:
    """Every matrix that `model` multiplies by becomes int8 with a scale a row; returns how many."""
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        matrix = node.input_value(1).get_node()
        if matrix.get_type_name() != "Constant" or len(matrix.shape) != 2:
            continue
        rows = matrix.data
        scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(_LARGEST_INT8)
        scales[scales == 0] = 1
        stored = constant(np.rint(rows / scales).astype(np.int8))
        node.input(1).replace_source_output(
            multiply(convert(stored, "f32"), constant(scales)).output(0)
        )
        count += 1
    return count


def store_in_bfloat16(model: Any) -> None:
    """Store the float32 constants of `model` in bfloat16, those that lose nothing by it."""
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
