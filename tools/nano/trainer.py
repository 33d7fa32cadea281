"""The plan of a training run, its optimizers, and the state from which it is resumed."""

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
# A resumed run cannot change these: which frames it has seen, and its initial weights.
_FIXED: Final = ("batch", "seed")


@dataclass(frozen=True)
class Plan:
    """The hyperparameters of a run. Raises SettingsError for values that cannot train."""

    images: int = 1_000_000
    # Images at the beginning on which only the encoder is trained.
    encoder_images: int = 60_000
    # Images in a batch.
    batch: int = 64
    # Questions about each image, at most.
    questions: int = 8
    # Learning rate of AdamW; Muon's updates are scaled to match it.
    rate: float = 2e-3
    weight_decay: float = 0.05
    # Weight of the patch loss beside the answers'.
    patch_weight: float = 0.3
    # Shares of the images at the beginning and the end, while the rate rises and falls.
    warmup_share: float = 0.004
    falling_share: float = 0.25
    seed: int = 0
    # Number of different frames, repeated with new questions; 0 draws each frame anew.
    distinct: int = 0
    # Number of the first frame. New frames teach a run that starts from an earlier run's checkpoint
    # more than frames that the earlier run has seen.
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
    """Return the rate after `seen` images: warm-up, constant, then linearly to zero."""
    warm = min(1.0, (seen + plan.batch) / max(1.0, plan.warmup_share * plan.images))
    left = (plan.images - seen) / (plan.falling_share * plan.images)
    return plan.rate * min(warm, left, 1.0)


def read_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the state last saved in `folder`, None if there is none; raise CheckpointError."""
    file = folder / STATE_NAME
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{file} cannot be read. Choose another --work folder to start a new run."
        ) from error
    return state


def resumed_plan(state: dict[str, Any], overrides: dict[str, Any]) -> Plan:
    """Return the plan of a resumed run: the saved one with `overrides`.

    Raises CheckpointError if they would change a value that a run must keep.
    """
    # States of earlier versions have no plan.
    kept: dict[str, Any] = state.get("plan", {})
    for name in _FIXED:
        if name in kept and overrides.get(name, kept[name]) != kept[name]:
            raise CheckpointError(
                f"This run was started with --{name} {kept[name]} and must keep it. "
                "Omit the flag, or choose another --work folder to start a new run."
            )
    return Plan(**{**kept, **overrides})


class Trainer:
    """The model, its patch heads and its optimizers."""

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
        # Muon (Jordan et al., 2024) for the layers' matrices, AdamW for all other weights.
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
        """Run one optimizer step; return the loss and its parts.

        Raises SightlineError if the loss is not finite.
        """
        rate = learning_rate(self.plan, self.seen)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        with_answers = self.seen >= self.plan.encoder_images
        with torch.autocast(self.device.type, torch.bfloat16):
            parts = losses(self.model, self.heads, batch.to(self.device), with_answers)
        total = parts.answers + parts.patches * (self.plan.patch_weight if with_answers else 1.0)
        loss = total.item()
        if not math.isfinite(loss):
            raise SightlineError(f"the loss became {loss} after {self.seen} images; lower --rate")
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.seen += self.plan.batch
        return loss, parts

    def save_state(self, folder: Path) -> None:
        """Write everything that resuming needs; replace the older state when that is complete."""
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

    def load_state(self, state: dict[str, Any]) -> None:
        """Load a saved state; raise CheckpointError if it has another architecture."""
        try:
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
        except RuntimeError as error:
            raise CheckpointError(
                "The saved state does not fit this model. Give the --init with which the run was "
                "started, or choose another --work folder to start a new run."
            ) from error
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for group in self.optimizers[0].param_groups:
            group["weight_decay"] = self.plan.weight_decay
        self.seen = state["seen"]
