"""Laws of the tree pass, on both runtimes: it predicts what passes one by one predict."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine_kit import question_ids, torch_runtime
from vlm.engine.branches import MAX_ROWS, Branch, common_start, packs_of
from vlm.engine.inputs import InputBuilder
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.runtimes.torch.eager import load_model
from vlm.runtimes.torch.static import StaticTorchRuntime
from vlm.runtimes.trees import Tree, logprobs_of

pytest.importorskip("openvino")

# Prefixes of each other, equal ones, and more rows than one pass takes.
LABELS = (
    *("red", "red star", "a red star", "red star", "red starfish", "🟥⭐", "<image>", "?"),
    *(f"{colour} {shape}" for colour in ("red", "blue", "pink") for shape in ("ring", "heart")),
    "a label that has so many words that it does not fit into what is left of the first pass",
    *("another long label with other words in it", "Zebra crossing", "un mot français"),
)
CLOSE = 1e-4


@pytest.fixture(scope="module", params=["openvino", "torch", "static"])
def runtime(request: pytest.FixtureRequest, nano_dir: Path) -> Any:
    if request.param == "openvino":
        return request.getfixturevalue("openvino")
    if request.param == "torch":
        return torch_runtime(nano_dir)
    model = load_model(nano_dir, torch.float32, "cpu")
    return StaticTorchRuntime(model, torch.device("cpu"), slots=2, block_tokens=32)


def prompt_state(runtime: Any, builder: InputBuilder, image: Image.Image) -> tuple[Any, int]:
    """Return the state of a prompt without its last token, and that token."""
    processor = builder.image_processor
    *ids, last = question_ids(builder, "What is this?", processor.grid_of(image.size, "low"))
    state, _ = runtime.prefill(ids, [runtime.encode_image(processor.pixel_values(image, "low"))])
    return state, last


def branches_of(builder: InputBuilder, root: int, labels: Sequence[str]) -> list[Branch]:
    end = builder.tokenizer.id_of("<end_of_utterance>")
    assert end is not None
    answers = [(*builder.tokenizer.encode_typed(f" {label}"), end) for label in labels]
    return [Branch((root, *answer), len(answer)) for answer in answers]


def in_trees(runtime: Any, state: Any, branches: Sequence[Branch], rows: int) -> list[float]:
    found = [0.0] * len(branches)
    for pack in packs_of(branches, rows):
        for index, value in pack.sums(runtime.score(state, pack.tree, pack.asked)):
            found[index] = value
    return found


def one_by_one(runtime: Any, state: Any, branch: Branch) -> float:
    *fed, _ = branch.token_ids
    after = runtime.verify(runtime.fork(state, state.length), fed, branch.scored, want_logits=True)
    scored = branch.token_ids[-branch.scored :]
    return sum(logprobs_of(after.logits, range(branch.scored), list(enumerate(scored))))


def assert_tree_laws(runtime: Any, builder: InputBuilder, image: Image.Image) -> None:
    state, root = prompt_state(runtime, builder, image)
    length = state.length
    before = runtime.verify(runtime.fork(state, length), [root], 1, want_logits=True)
    branches = branches_of(builder, root, LABELS)
    expected = [one_by_one(runtime, state, branch) for branch in branches]
    assert len(set(expected)) > len(LABELS) // 2, "scores that hardly differ prove nothing"
    for rows in (MAX_ROWS, 12):
        np.testing.assert_allclose(in_trees(runtime, state, branches, rows), expected, atol=CLOSE)
    order = random.Random(0).sample(range(len(branches)), len(branches))
    shuffled = in_trees(runtime, state, [branches[each] for each in order], MAX_ROWS)
    np.testing.assert_allclose(shuffled, [expected[each] for each in order], atol=CLOSE)
    # A tree of one path is a verify; the state is as it was.
    (path,) = packs_of(branches[-1:])
    (alone,) = (value for _, value in path.sums(runtime.score(state, path.tree, path.asked)))
    assert alone == pytest.approx(expected[-1], abs=CLOSE)
    assert state.length == length
    after = runtime.verify(state, [root], 1, want_logits=True)
    assert after.ids == before.ids
    np.testing.assert_allclose(after.logits, before.logits, atol=CLOSE)


def test_a_tree_scores_as_one_by_one_and_leaves_the_state(
    runtime: Any, builder: InputBuilder, frames: list[Image.Image]
) -> None:
    assert_tree_laws(runtime, builder, frames[0])


@pytest.mark.slow
def test_a_tree_of_smolvlm_256m_scores_as_one_by_one(
    exact_shape_dir: Path, frames: list[Image.Image]
) -> None:
    runtime = OpenVinoRuntime.load(exact_shape_dir, precision_here("int8", 0), print)
    assert_tree_laws(runtime, InputBuilder.load(exact_shape_dir), frames[0])


def test_hidden_positions_are_as_if_they_were_not_there(
    runtime: Any, nano_dir: Path, builder: InputBuilder, frames: list[Image.Image]
) -> None:
    state, root = prompt_state(runtime, builder, frames[0])
    star, *_ = builder.tokenizer.encode_typed(" star")
    hidden = range(6, 60)
    tree = Tree([root, root], [-1, -1], {1: hidden})
    seen, unseen = runtime.score(state, tree, [(0, star), (1, star)])
    assert seen != pytest.approx(unseen, abs=0.01)
    # transformers, with a mask over the same positions.
    reference = torch_runtime(nano_dir)
    kept, _ = prompt_state(reference, builder, frames[0])
    mask = torch.ones(1, 1, 1, kept.length + 1, dtype=torch.bool)
    mask[..., list(hidden)] = False
    with torch.inference_mode():
        output = reference._model.model.text_model(
            inputs_embeds=reference._embed(torch.tensor([[root]])),
            attention_mask=mask,
            position_ids=torch.tensor([[kept.length]]),
            past_key_values=kept.cache,
        )
        logits = reference._model.lm_head(output.last_hidden_state[0]).numpy()
    assert unseen == pytest.approx(logprobs_of(logits, [0], [(0, star)])[0], abs=CLOSE)


def test_packs_have_each_beginning_once_and_few_rows() -> None:
    branches = [Branch((1, 2, 3, last), 2) for last in range(10, 20)]
    (pack,) = packs_of([*branches, Branch((1, 2, 3), 1)])
    assert (pack.token_ids, pack.parents) == ([1, 2, 3], [-1, 0, 1])
    assert common_start(branches) == (1, 2)
    long = [Branch((index, *range(50)), 1) for index in range(3)]
    assert [len(each.tree) for each in packs_of(long, 60)] == [50, 50, 50]
    assert [len(each.tree) for each in packs_of(long, 110)] == [100, 50]
    assert [len(each.tree) for each in packs_of(long, 10)] == [50, 50, 50]
