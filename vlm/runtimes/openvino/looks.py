"""Attention out of the text model of a conversion: its queries as outputs, its keys from the state.

The fused attention returns no weights, but queries are inputs of it, and a state has the keys.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# The graph's own outputs: argmax and logits.
_OUTPUTS: Final = 2


def with_queries(graph: Any) -> Any:
    """Return a copy of the text model `graph` that also returns each layer's queries.

    Those of the rows `wanted`, [1, heads, wanted, head size], in the order of the layers.
    """
    # Imported here: `platform` disables telemetry before OpenVINO is imported.
    from openvino import opset13

    model = graph.clone()
    wanted = model.input("wanted").get_node()
    axis = opset13.constant(2, np.int64)
    model.add_outputs(
        [
            opset13.gather(node.input_value(0), wanted, axis).output(0)
            for node in model.get_ordered_ops()
            if node.get_type_name() == "ScaledDotProductAttention"
        ]
    )
    model.validate_nodes_and_infer_types()
    return model


def queries_of(request: Any, layer: int) -> Floats:
    """Return the queries of the last pass of `request`, [heads, rows, head size]."""
    queries: Floats = request.get_output_tensor(_OUTPUTS + layer).data[0]
    return queries


def keys_of(request: Any) -> dict[int, Floats]:
    """Return the keys that the state of `request` holds, [heads, tokens, head size], by layer."""
    keys = {}
    for state in request.query_state():
        # The name is "past_4past_4_present": keys of a layer have an even number, values follow.
        index = int(state.name.removeprefix("past_").split("past_")[0])
        if index % 2 == 0:
            keys[index // 2] = state.state.data[0]
    return keys


def attention(queries: Floats, keys: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """Return the softmax of the scaled products, [heads, rows, tokens].

    `queries` [heads, rows, size] may have several heads for each one of `keys` [heads, tokens,
    size]; `mask` [rows, tokens] is true where a row attends.
    """
    heads, rows, size = queries.shape
    grouped = queries.reshape(len(keys), -1, size)
    scores = (grouped @ keys.transpose(0, 2, 1)).reshape(heads, rows, -1) / np.sqrt(size)
    scores = np.where(mask, scores.astype(np.float32), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    normed: Floats = weights / weights.sum(-1, keepdims=True)
    return normed
