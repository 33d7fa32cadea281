"""Which model `/v1` serves. Apart from the chat route, whose import of pydantic is slow."""

from __future__ import annotations

from vlm.checkpoints.catalogue import known_model
from vlm.errors import ModelFailedError, NotReadyError
from vlm.scheduler.worker import Worker
from vlm.types import EngineInfo
from web.errors import FieldError


def running_model(worker: Worker, name: str | None = None) -> EngineInfo:
    """What runs, where that is what `name` names; a hub id is as good as the short name of it.

    Raises NotReadyError, ModelFailedError, or FieldError for another model than the running one.
    """
    info = worker.info
    if info is None:
        if worker.state == "failed":
            raise ModelFailedError(str(worker.error))
        raise NotReadyError("The model is still loading. Try again in a few seconds.")
    if name is not None and _short(name) != _short(info.model):
        raise FieldError(
            f"The model named is not served here; `{info.model}` is.",
            "model",
            "model_not_found",
            status=404,
        )
    return info


def _short(name: str) -> str:
    known = known_model(name)
    return known.name if known else name
