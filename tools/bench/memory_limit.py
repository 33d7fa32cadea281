"""How near decoding comes to the limit that memory sets: each token reads all text weights once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from vlm.checkpoints.files import tensor_shapes

_BYTES_PER_NUMBER: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


def bytes_read_per_token(folder: Path, dtype: str) -> int:
    """The text weights of the checkpoint in `folder`, stored in the engine's `dtype`.

    Its first word is theirs; what may follow is about the vision encoder. The embeddings count
    once: as the output matrix, tied or of its own, which is of their shape. A token reads but one
    row of them as what they are.
    """
    numbers = sum(
        math.prod(shape)
        for name, shape in tensor_shapes(folder).items()
        if ".text_model." in f".{name}"
    )
    return numbers * _BYTES_PER_NUMBER[dtype.partition(",")[0]]
