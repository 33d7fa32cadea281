"""Between captions: the last frame of a camera at rest, encoded whole.

Its features replace those that were encoded in part, and show how far these were off: by their
error, and by whether the whole frame has the same caption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from vlm.engine.model import Model
from vlm.engine.passes import EncodeChanged, Passes, Prefill
from vlm.engine.prompt_reuse import FedPrompt


def refresh(model: Model, camera: str, is_needed: Callable[[], bool]) -> Passes[NoReturn]:
    """Yield the passes, at most one more once `is_needed`; `camera` is at rest."""
    reuse = model.reuse
    assert reuse is not None
    plan, captioned = reuse.plan_again(camera)
    try:
        features = yield EncodeChanged(plan.state, plan.pixel_values, plan.changed)
    except BaseException:
        reuse.drop(plan)
        raise
    # Without exact splits a caption fed as a draft may differ for that reason alone.
    can_check = captioned is not None and model.runtime.exact_splits
    if not reuse.keep(plan, features) or not can_check or is_needed():
        return
    assert captioned is not None
    input_ids, answer = captioned
    state, after = yield Prefill([*input_ids, *answer[:-1]], [features], len(answer))
    reuse.drift.check(after.ids == list(answer))
    if "refeed" in model.runtime.capabilities:
        reuse.keep_prompt(camera, FedPrompt(state, input_ids, features))
