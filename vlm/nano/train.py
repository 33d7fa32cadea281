"""`python -m vlm.nano.train`: trains the bundled model, on a CPU or a CUDA GPU, resumable after a kill.

Two stages. The encoder first learns, patch by patch, what it looks at; then encoder and decoder learn to
answer, the patch heads going on beside. The rate is constant until the last part of the run and falls to
zero there, so that a longer run can take up an earlier one where it left off.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Idefics3ForConditionalGeneration,
)

from vlm.errors import CheckpointError, SightlineError
from vlm.nano.architecture import VISION_WIDTH, build_model, build_processor, train_tokenizer
from vlm.nano.attention import use_matmul_attention
from vlm.nano.batches import Batch, FrameBatches
from vlm.nano.corpus import corpus
from vlm.nano.objective import Losses, PatchHeads, losses

CHECKPOINT = Path(__file__).parent / "checkpoint"
STATE_NAME = "state.pt"


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. Counts are images, rates are AdamW's."""

    images: int = 1_000_000
    encoder_images: int = 60_000
    batch: int = 64
    questions: int = 4
    rate: float = 2e-3
    weight_decay: float = 0.05
    patch_weight: float = 0.3
    warmup_share: float = 0.004
    falling_share: float = 0.25
    seed: int = 0


def learning_rate(plan: Plan, seen: int) -> float:
    """Warm-up, constant, then linearly to zero over the last share of the images."""
    warm = min(1.0, (seen + plan.batch) / max(1.0, plan.warmup_share * plan.images))
    left = (plan.images - seen) / (plan.falling_share * plan.images)
    return plan.rate * min(warm, left, 1.0)


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

    def step(self, batch: Batch) -> Losses:
        """One optimizer step; raises SightlineError when the loss is no number any more."""
        rate = learning_rate(self.plan, self.seen)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        answering = self.seen >= self.plan.encoder_images
        with torch.autocast(self.device.type, torch.bfloat16):
            found = losses(self.model, self.heads, batch.to(self.device), answering)
        total = found.answers + found.patches * (self.plan.patch_weight if answering else 1.0)
        if not torch.isfinite(total):
            raise SightlineError(
                f"the loss became {total.item()} after {self.seen} images; lower --rate"
            )
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.seen += self.plan.batch
        return found

    def save_state(self, folder: Path) -> None:
        """Write all that a later run needs to go on; an older state stays whole until the new one is."""
        state = {
            "seen": self.seen,
            "batch": self.plan.batch,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = folder / f"{STATE_NAME}.partial"
        torch.save(state, partial)
        os.replace(partial, folder / STATE_NAME)

    def load_state(self, folder: Path) -> None:
        """Go on from a saved state; raises CheckpointError where its batch size is another."""
        state = torch.load(folder / STATE_NAME, map_location=self.device, weights_only=True)
        if state["batch"] != self.plan.batch:
            raise CheckpointError(
                f"{folder / STATE_NAME} was trained with --batch {state['batch']}: use the same"
            )
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seen = state["seen"]


def export(model: Idefics3ForConditionalGeneration, processor: object, folder: Path) -> None:
    """Write the bfloat16 checkpoint in transformers' own files."""
    with torch.no_grad():
        weights = {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
    halved = Idefics3ForConditionalGeneration._from_config(model.config, dtype=torch.bfloat16)
    halved.load_state_dict(weights)
    halved.generation_config.eos_token_id = model.config.eos_token_id
    halved.save_pretrained(folder)
    processor.save_pretrained(folder)  # type: ignore[attr-defined]


def _batches(dataset: FrameBatches, first: int, last: int, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,
    )
    yield from loader


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start(arguments: argparse.Namespace, plan: Plan) -> tuple[Trainer, object]:
    torch.manual_seed(plan.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    work = arguments.work
    processor_folder = arguments.init if arguments.init else work
    if not (processor_folder / "tokenizer.json").exists():
        build_processor(train_tokenizer(corpus())).save_pretrained(processor_folder)
    processor = AutoProcessor.from_pretrained(processor_folder)
    if arguments.init:
        model = AutoModelForImageTextToText.from_pretrained(arguments.init, dtype=torch.float32)
    else:
        model = build_model(processor.tokenizer)
    if device.type == "cpu":
        use_matmul_attention(model.model.vision_model)
    trainer = Trainer(plan, model, PatchHeads(VISION_WIDTH), device)
    if (work / STATE_NAME).exists():
        trainer.load_state(work)
    return trainer, processor


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vlm.nano.train", description=__doc__)
    plan = Plan()
    parser.add_argument(
        "--out", type=Path, default=CHECKPOINT, help="folder of the finished checkpoint"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/nano"), help="folder of the run's own state"
    )
    parser.add_argument(
        "--init", type=Path, help="start from this checkpoint's weights and tokenizer"
    )
    parser.add_argument(
        "--save-every-s", type=float, default=180, help="seconds between saved states"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw frames")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the forward pass, 0: all cores"
    )
    parser.add_argument(
        "--no-evaluation", action="store_true", help="skip the evaluation at the end"
    )
    for name, value in asdict(plan).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def train(arguments: argparse.Namespace, plan: Plan) -> None:
    """Run the plan from the last saved state, or from the start where there is none."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    trainer, processor = _start(arguments, plan)
    dataset = FrameBatches(processor, "train", plan.batch, plan.questions)
    saved_at = time.monotonic()
    bar = tqdm(
        total=plan.images, initial=trainer.seen, unit="images", smoothing=0.02, dynamic_ncols=True
    )
    steps = _batches(
        dataset, trainer.seen // plan.batch, plan.images // plan.batch, arguments.workers
    )
    for batch in steps:
        found = trainer.step(batch)
        bar.update(plan.batch)
        bar.set_postfix(
            answers=f"{found.answers.item():.3f}",
            patches=f"{found.patches.item():.3f}",
            right=f"{found.answer_accuracy:.3f}",
            shapes=f"{found.shape_accuracy:.2f}",
            letters=f"{found.letter_accuracy:.2f}",
        )
        if time.monotonic() - saved_at > arguments.save_every_s:
            trainer.save_state(arguments.work)
            saved_at = time.monotonic()
    bar.close()
    trainer.save_state(arguments.work)
    export(trainer.model, processor, arguments.out)


def main() -> None:
    """The command line."""
    arguments = _arguments()
    plan = Plan(**{name: getattr(arguments, name) for name in asdict(Plan())})
    try:
        train(arguments, plan)
    except SightlineError as error:
        raise SystemExit(f"train: {error}") from None
    if not arguments.no_evaluation:
        from vlm.nano.evaluate import main as evaluate

        evaluate(["--checkpoint", str(arguments.out)])


if __name__ == "__main__":
    main()
