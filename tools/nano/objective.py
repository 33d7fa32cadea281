"""The training objective: cross-entropy of the answers and of the patch labels.

So small an encoder needs the dense supervision of a label for each patch; the patch heads are
discarded after training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Idefics3ForConditionalGeneration

from tools.nano.batches import LABEL_NAMES, NO_TARGET, Batch
from tools.nano.lettering import LETTERS
from tools.nano.palette import COLOURS
from tools.nano.patch_labels import IGNORED
from tools.nano.shapes import PATTERNS, SHAPES
from tools.nano.truth import SIZES

CLASSES: Final = {
    "shape": len(SHAPES) + 1,
    "colour": len(COLOURS) + 1,
    "size": len(SIZES) + 1,
    "pattern": len(PATTERNS) + 1,
    "letter": len(LETTERS) + 1,
}
# Most patches show background; with full weight the heads would always predict it.
BACKGROUND_WEIGHT: Final = 0.2


class PatchHeads(nn.Module):
    """One linear layer from a patch's features (..., width) to the logits of all its labels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, sum(CLASSES.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        logits = self.linear(features)
        parts = logits.split([CLASSES[name] for name in LABEL_NAMES], dim=-1)
        return dict(zip(LABEL_NAMES, parts, strict=True))


@dataclass
class Losses:
    """The two parts of the loss, and accuracies (0..1) for the progress bar."""

    answers: Tensor
    patches: Tensor
    answer_accuracy: float
    shape_accuracy: float
    letter_accuracy: float


def _patch_loss(logits: dict[str, Tensor], labels: Tensor) -> tuple[Tensor, dict[str, float]]:
    total = torch.zeros((), device=labels.device)
    accuracy: dict[str, float] = {}
    for index, name in enumerate(LABEL_NAMES):
        target = labels[:, index].flatten()
        flat = logits[name].flatten(0, 1).float()
        weights = torch.ones(CLASSES[name], device=flat.device)
        weights[0] = BACKGROUND_WEIGHT
        if (target != IGNORED).any():
            total = total + F.cross_entropy(flat, target, weights, ignore_index=IGNORED)
        object_patches = target > 0
        right = (flat.argmax(-1) == target)[object_patches]
        accuracy[name] = right.float().mean().item() if len(right) else 0.0
    return total, accuracy


def normalised(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 pixels as the processor normalises them, -1 to 1."""
    return (pixels.float() / 127.5 - 1).to(dtype)


def answer_logits(
    model: Idefics3ForConditionalGeneration, features: Tensor, batch: Batch
) -> Tensor:
    """Return the logits at `batch.answer_positions()`, (positions, vocabulary).

    `features` (B, patches, width) is the encoder's output for the batch's frames.
    """
    image_embeds = model.model.connector(features)
    embeds = model.get_input_embeddings()(batch.input_ids)
    is_image = batch.input_ids == model.config.image_token_id
    embeds = embeds.masked_scatter(is_image[..., None], image_embeds.to(embeds.dtype))
    hidden = model.model.text_model(
        inputs_embeds=embeds,
        attention_mask=batch.attention_mask(),
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    logits: Tensor = model.lm_head(hidden.flatten(0, 1)[batch.answer_positions()])
    return logits


def losses(
    model: Idefics3ForConditionalGeneration, heads: PatchHeads, batch: Batch, with_answers: bool
) -> Losses:
    """Run a forward pass over a batch; without answers only the encoder runs."""
    dtype = model.model.connector.modality_projection.proj.weight.dtype
    features = model.model.vision_model(normalised(batch.pixels, dtype)).last_hidden_state
    patches, accuracy = _patch_loss(heads(features), batch.labels)
    answers, answer_accuracy = torch.zeros((), device=features.device), 0.0
    if with_answers:
        logits = answer_logits(model, features, batch).float()
        targets = batch.targets.flatten()[batch.answer_positions()]
        answers = F.cross_entropy(logits, targets, ignore_index=NO_TARGET)
        right = (logits.argmax(-1) == targets)[targets != NO_TARGET]
        answer_accuracy = right.float().mean().item()
    return Losses(answers, patches, answer_accuracy, accuracy["shape"], accuracy["letter"])
