"""The plan of a training run, its optimizers, and the state that a later run goes on from."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import Idefics3ForConditionalGeneration

from tools.nano.batches import Batch
from tools.nano.objective import Losses, PatchHeads, losses
from vlm.errors import CheckpointError, SettingsError, SightlineError

STATE_NAME: Final = "state.pt"
# What a run cannot change midway: the first decides which frames it has seen, the second its start.
_FIXED: Final = ("batch", "seed")


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. Counts are images, rates are those of AdamW.

    `distinct` frames are drawn and kept, then shown again with new questions; 0 draws each anew.
    Frames are numbered, `first_frame` being the first: a run that starts from an earlier one's
    checkpoint learns more of frames that the earlier one did not meet.

    Raises SettingsError where there would be nothing to learn from.
    """

    images: int = 1_000_000
    encoder_images: int = 60_000
    batch: int = 64
    questions: int = 8
    rate: float = 2e-3
    weight_decay: float = 0.05
    patch_weight: float = 0.3
    warmup_share: float = 0.004
    falling_share: float = 0.25
    seed: int = 0
    distinct: int = 0
    first_frame: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "questions", "rate", "falling_share"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"--{name.replace('_', '-')} must be more than 0")
        if self.first_frame < 0:
            raise SettingsError("--first-frame must be 0 or more")
        if self.images < self.batch:
            raise SettingsError(f"--images must be at least one batch, {self.batch}")


def learning_rate(plan: Plan, seen: int) -> float:
    """Warm-up, constant, then linearly to zero over the last share of the images."""
    warm = min(1.0, (seen + plan.batch) / max(1.0, plan.warmup_share * plan.images))
    left = (plan.images - seen) / (plan.falling_share * plan.images)
    return plan.rate * min(warm, left, 1.0)


def read_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state last saved in `folder`, None where there is none; raises CheckpointError."""
    file = folder / STATE_NAME
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{file} cannot be read. Name another --work folder to start anew."
        ) from error
    return state


def resumed_plan(state: dict[str, Any], asked: dict[str, Any]) -> Plan:
    """The plan that a run goes on with: its own, but for what is `asked` for now.

    Raises CheckpointError where that would change what a run must keep.
    """
    # States of earlier versions hold no plan.
    kept: dict[str, Any] = state.get("plan", {})
    for name in _FIXED:
        if name in kept and asked.get(name, kept[name]) != kept[name]:
            raise CheckpointError(
                f"This run was started with --{name} {kept[name]} and must keep it. "
                "Leave the flag out, or name another --work folder to start anew."
            )
    return Plan(**{**kept, **asked})


class Trainer:
    """The model, its patch heads and its optimizers; one `step` a batch."""

    def __init__(
        self,
        plan: Plan,
        model: Idefics3ForConditionalGeneration,
        heads: PatchHeads,
        device: torch.device,
    ) -> None:
        self.plan, self.device = plan, device
        self.model, self.heads = model.to(device).train(), heads.to(device)
        self.seen = 0
        # Muon (Jordan et al., 2024) for the layers' matrices, AdamW for all else.
        matrices = [
            weight
            for name, weight in model.named_parameters()
            if weight.ndim == 2 and ("layers" in name or "proj" in name)
        ]
        chosen = {id(weight) for weight in matrices}
        every = itertools.chain(model.parameters(), heads.parameters())
        rest = [weight for weight in every if id(weight) not in chosen]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                matrices, plan.rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, plan.rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def step(self, batch: Batch) -> tuple[float, Losses]:
        """One optimizer step: the loss that it lessens, and its parts.

        Raises SightlineError when the loss is no number any more.
        """
        rate = learning_rate(self.plan, self.seen)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        answering = self.seen >= self.plan.encoder_images
        with torch.autocast(self.device.type, torch.bfloat16):
            found = losses(self.model, self.heads, batch.to(self.device), answering)
        total = found.answers + found.patches * (self.plan.patch_weight if answering else 1.0)
        loss = total.item()
        if not math.isfinite(loss):
            raise SightlineError(f"the loss became {loss} after {self.seen} images; lower --rate")
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.seen += self.plan.batch
        return loss, found

    def save_state(self, folder: Path) -> None:
        """Write all that a later run needs; an older state stays whole until the new one is."""
        state = {
            "seen": self.seen,
            "plan": asdict(self.plan),
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = folder / f"{STATE_NAME}.partial"
        torch.save(state, partial)
        os.replace(partial, folder / STATE_NAME)

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take up a saved state; raises CheckpointError where it is of another architecture."""
        try:
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
        except RuntimeError as error:
            raise CheckpointError(
                "The saved state does not fit this model. Give the --init that its run was "
                "started with, or name another --work folder to start anew."
            ) from error
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for group in self.optimizers[0].param_groups:
            group["weight_decay"] = self.plan.weight_decay
        self.seen = state["seen"]
