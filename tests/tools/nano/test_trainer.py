"""Training steps, the plan, and the saved state: resuming does not change the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.nano import trainer as training
from tools.nano.architecture import VISION_WIDTH, build_model
from tools.nano.batches import Batch, FrameBatches
from tools.nano.objective import PatchHeads
from tools.nano.trainer import Plan, Trainer, learning_rate, read_state, resumed_plan
from vlm.errors import CheckpointError, SettingsError, SightlineError

CPU = torch.device("cpu")
PLAN = Plan(images=16, encoder_images=4, batch=2, questions=3, seed=3)


@pytest.fixture(scope="module")
def batches(processor: Any) -> list[Batch]:
    dataset = FrameBatches(processor, "train", PLAN.batch, PLAN.questions)
    return [dataset[index] for index in range(4)]


def new_trainer(processor: Any, plan: Plan = PLAN) -> Trainer:
    torch.manual_seed(plan.seed)
    return Trainer(plan, build_model(processor.tokenizer), PatchHeads(VISION_WIDTH), CPU)


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {**trainer.model.state_dict(), **trainer.heads.state_dict()}


def test_resumed_run_ends_with_the_same_weights(
    processor: Any, batches: list[Batch], tmp_path: Path
) -> None:
    whole, first = new_trainer(processor), new_trainer(processor)
    for batch in batches:
        whole.step(batch)
    for batch in batches[:3]:
        first.step(batch)
    first.save_state(tmp_path)
    state = read_state(tmp_path, CPU)
    assert state is not None
    second = new_trainer(processor, resumed_plan(state, {}))
    second.load_state(state)
    assert second.seen == first.seen == 3 * PLAN.batch
    second.step(batches[3])
    assert second.seen == whole.seen
    expected = weights_of(whole)
    for name, weight in weights_of(second).items():
        assert torch.equal(weight, expected[name]), name


def test_decoder_is_trained_after_the_encoder_images(processor: Any, batches: list[Batch]) -> None:
    trainer = new_trainer(processor, replace(PLAN, encoder_images=2))
    decoder = trainer.model.model.text_model.layers[0].self_attn.o_proj.weight
    encoder = trainer.model.model.vision_model.embeddings.patch_embedding.weight
    before = decoder.detach().clone(), encoder.detach().clone()
    loss, parts = trainer.step(batches[0])
    assert loss == pytest.approx(parts.patches.item())
    assert torch.equal(decoder, before[0])
    assert not torch.equal(encoder, before[1])
    loss, parts = trainer.step(batches[1])
    expected = parts.answers.item() + PLAN.patch_weight * parts.patches.item()
    assert loss == pytest.approx(expected, rel=1e-2)
    assert not torch.equal(decoder, before[0])


def test_repeated_steps_reduce_the_loss(processor: Any, batches: list[Batch]) -> None:
    trainer = new_trainer(processor, replace(PLAN, encoder_images=0, images=1000))
    losses = [trainer.step(batches[0])[0] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]


def test_infinite_loss_stops_the_run(processor: Any, batches: list[Batch]) -> None:
    trainer = new_trainer(processor)
    with torch.no_grad():
        trainer.heads.linear.bias.fill_(math.nan)
    with pytest.raises(SightlineError, match="--rate"):
        trainer.step(batches[0])
    assert trainer.seen == 0


def test_kill_while_saving_keeps_the_older_state(
    processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = new_trainer(processor)
    trainer.save_state(tmp_path)

    def killed(_: object, file: Path) -> None:
        file.write_bytes(b"half a st")
        raise KeyboardInterrupt

    trainer.seen = 8
    monkeypatch.setattr(training.torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_state(tmp_path)
    state = read_state(tmp_path, CPU)
    assert state is not None
    assert state["seen"] == 0


def test_missing_state_is_none_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert read_state(tmp_path, CPU) is None
    (tmp_path / training.STATE_NAME).write_bytes(b"no state")
    with pytest.raises(CheckpointError, match=training.STATE_NAME):
        read_state(tmp_path, CPU)


def test_state_of_another_architecture_is_refused(processor: Any, tmp_path: Path) -> None:
    trainer = new_trainer(processor)
    trainer.save_state(tmp_path)
    state = read_state(tmp_path, CPU)
    assert state is not None
    del state["model"]["lm_head.weight"]
    with pytest.raises(CheckpointError, match="--init"):
        trainer.load_state(state)


def test_resumed_run_keeps_its_plan_except_for_given_flags() -> None:
    state = {"plan": asdict(PLAN)}
    assert resumed_plan(state, {}) == PLAN
    assert resumed_plan(state, {"images": 99, "rate": 1e-4, "batch": PLAN.batch}) == replace(
        PLAN, images=99, rate=1e-4
    )


@pytest.mark.parametrize("name", ["batch", "seed"])
def test_resumed_run_cannot_change_batch_or_seed(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"--{name}"):
        resumed_plan({"plan": asdict(PLAN)}, {name: 5})


@pytest.mark.parametrize(
    "values",
    [
        {"images": 10, "batch": 64},
        {"batch": 0},
        {"questions": 0},
        {"rate": 0.0},
        {"rate": -1.0},
        {"first_frame": -1},
    ],
)
def test_plan_that_cannot_train_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="--"):
        Plan(**values)


def test_rate_warms_up_stays_and_falls_to_zero() -> None:
    plan = Plan(images=100_000, batch=50, rate=1e-3, warmup_share=0.01, falling_share=0.25)
    rates = [learning_rate(plan, seen) for seen in range(0, plan.images, plan.batch)]
    warm, falling = 1_000 // plan.batch, 75_000 // plan.batch
    assert rates[0] == pytest.approx(plan.rate / 20)
    assert rates[:warm] == sorted(rates[:warm])
    assert set(rates[warm:falling]) == {plan.rate}
    assert rates[falling:] == sorted(rates[falling:], reverse=True)
    assert rates[-1] == pytest.approx(plan.rate * plan.batch / 25_000)


def test_rate_follows_a_changed_number_of_images() -> None:
    plan = Plan(images=100_000)
    middle = 60_000
    assert learning_rate(plan, middle) == plan.rate
    assert learning_rate(replace(plan, images=70_000), middle) < plan.rate
    assert learning_rate(plan, 99_000) < plan.rate
    assert learning_rate(replace(plan, images=200_000), 99_000) == plan.rate
