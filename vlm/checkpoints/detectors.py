"""The known detectors of things in frames; no network."""

from __future__ import annotations

from typing import Final

from vlm.checkpoints.hub_models import HubModel

BUNDLED_DETECTOR: Final = "nanodet"
NO_DETECTOR: Final = "none"

# A download has 4 bytes per parameter.
HUB_DETECTORS: Final = (
    HubModel(
        part="detector",
        option="detector",
        name="owlv2-base",
        title="OWLv2 base",
        hub_id="google/owlv2-base-patch16-ensemble",
        revision="main",
        model_class="Owlv2ForObjectDetection",
        vocabulary_files=("vocab.json", "merges.txt"),
        licence="Apache-2.0",
        download_bytes=622_000_000,
    ),
    HubModel(
        part="detector",
        option="detector",
        name="grounding-dino-tiny",
        title="Grounding DINO tiny",
        hub_id="IDEA-Research/grounding-dino-tiny",
        revision="main",
        model_class="GroundingDinoForObjectDetection",
        vocabulary_files=("vocab.txt",),
        licence="Apache-2.0",
        download_bytes=690_000_000,
    ),
)
DETECTOR_NAMES: Final = (BUNDLED_DETECTOR, *(detector.name for detector in HUB_DETECTORS))


def known_detector(name: str) -> HubModel | None:
    """Return the detector `name` if it is one that is downloaded."""
    return next((detector for detector in HUB_DETECTORS if detector.name == name), None)
