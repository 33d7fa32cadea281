"""The protocol of a detector, the detectors by name, and the boxes that are worth showing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from vlm.checkpoints.detectors import BUNDLED_DETECTOR, DETECTOR_NAMES, known_detector
from vlm.checkpoints.hub_models import folder_of
from vlm.detect.coco import DISPLAY_THRESHOLDS
from vlm.errors import SettingsError
from vlm.results import Box

if TYPE_CHECKING:
    from PIL import Image

    from vlm.checkpoints.hub import FetchProgress


class Detector(Protocol):
    """Finds things in frames. Safe from any thread."""

    name: str
    classes: tuple[str, ...]
    """The names that a box can have; empty if it finds what phrases name."""

    def detect(self, image: Image.Image, phrases: Sequence[str] = ()) -> list[Box]:
        """Return the boxes of things in the upright RGB `image`, the surest first.

        `phrases` say what to find; a detector with `classes` ignores them. Boxes come from a low
        score on; `shown` has those that are probably right.
        """
        ...


def load_detector(
    name: str,
    *,
    device: str = "auto",
    offline: bool = False,
    on_progress: Callable[[FetchProgress], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Detector:
    """Return the detector `name`, loaded, and downloaded before if it is not on this machine.

    `device` is as in `Settings`; the bundled detector runs on the CPU in any case.
    `on_progress` and `is_cancelled` are of the download, as in `vlm.checkpoints.hub.fetch`. Raise
    SettingsError for another name, OfflineError if `offline` forbids the download, FetchError,
    CheckpointError or OpenVinoUnavailableError.
    """
    # The packages that run a detector are imported with its module: they take a while.
    if name == BUNDLED_DETECTOR:
        from vlm.detect.nanodet import NanoDet

        return NanoDet()
    known = known_detector(name)
    if known is None:
        raise SettingsError(f"There is no detector {name!r}. Choose {', '.join(DETECTOR_NAMES)}.")
    folder = folder_of(known, offline=offline, on_progress=on_progress, is_cancelled=is_cancelled)
    from vlm.detect import transformers_detectors

    return transformers_detectors.load(known, folder, device)


def shown(boxes: Iterable[Box], detector: str = BUNDLED_DETECTOR) -> list[Box]:
    """Return those of the `boxes` of `detector` that are sure enough to be shown to a person.

    Detectors that find what a text names return only such boxes.
    """
    if detector != BUNDLED_DETECTOR:
        return list(boxes)
    return [box for box in boxes if box.score >= DISPLAY_THRESHOLDS.get(box.name, 0.0)]
