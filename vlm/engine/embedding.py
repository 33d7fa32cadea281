"""The image tokens of a picture: from a request to a result, as passes of the vision encoder."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from vlm.engine.encoding import Encoding
from vlm.engine.model import Model, Prepared
from vlm.engine.passes import Passes
from vlm.results import Embedded, Stats


def embedded(
    model: Model, prepared: Prepared, name: str, is_cancelled: Callable[[], bool]
) -> Passes[Embedded]:
    """Yield passes, none if the frame is in the cache, and, last, the result.

    `name` is that of the model.
    """
    started_s = time.perf_counter()
    encoding = Encoding(model, prepared, is_cancelled)
    yield from encoding.passes()
    to_array = model.runtime.features_array
    arrays = [to_array(each) for frame in encoding.frames for each in frame.features]
    features = np.concatenate(arrays) if arrays else np.zeros((0, 0), np.float32)
    stats = Stats.silent(time.perf_counter() - started_s, len(features), 0)
    yield Embedded("", "stop" if arrays else "cancelled", stats, name, features)
