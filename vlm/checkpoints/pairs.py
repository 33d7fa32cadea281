"""The known dual encoders; no network."""

from __future__ import annotations

from typing import Final

from vlm.checkpoints.hub_models import HubModel

BUNDLED_PAIR: Final = "nano-pair"
NO_PAIR: Final = "none"

# A download has 4 bytes per parameter.
HUB_PAIRS: Final = (
    HubModel(
        part="dual encoder",
        option="pair",
        name="clip-base",
        title="CLIP base",
        # OpenAI's own repository has pickles only; this is the same architecture, trained again.
        hub_id="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        revision="main",
        model_class="CLIPModel",
        vocabulary_files=("vocab.json", "merges.txt"),
        licence="MIT",
        download_bytes=605_000_000,
    ),
    HubModel(
        part="dual encoder",
        option="pair",
        name="siglip-base",
        title="SigLIP base",
        hub_id="google/siglip-base-patch16-224",
        revision="main",
        model_class="SiglipModel",
        vocabulary_files=("spiece.model",),
        licence="Apache-2.0",
        download_bytes=813_000_000,
    ),
    HubModel(
        part="dual encoder",
        option="pair",
        name="siglip2-base",
        title="SigLIP 2 base",
        hub_id="google/siglip2-base-patch16-224",
        revision="main",
        model_class="SiglipModel",
        vocabulary_files=("tokenizer.model",),
        licence="Apache-2.0",
        download_bytes=1_500_000_000,
    ),
)
PAIR_NAMES: Final = (BUNDLED_PAIR, *(pair.name for pair in HUB_PAIRS))


def known_pair(name: str) -> HubModel | None:
    """Return the dual encoder `name` if it is one that is downloaded."""
    return next((pair for pair in HUB_PAIRS if pair.name == name), None)
