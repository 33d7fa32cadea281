"""`python -m tools.nano.train_pair`: train the bundled dual encoder over nano's frozen encoder.

An image head pools the image tokens that nano's vision encoder and connector make of a frame, a
small text tower reads nano's tokens, and both end in vectors of length 1. The loss is SigLIP's
(Zhai et al., 2023, arxiv.org/abs/2303.15343) over frames and texts of which is known whether they
are true: each pair is a question of its own, so that many texts can be true of one frame.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from tools.nano.pair_texts import Claim, claims_of, facts_of, name_claims, truth_of
from tools.nano.scenes import Split, make_frame
from tools.nano.truth import Scene
from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.pairs.nano_pair import FOLDER, MAX_TOKENS, NanoEncoder, token_ids
from vlm.processing.tokenizer import Tokenizer
from vlm.runtimes.openvino.platform import import_openvino

WIDTH: Final = 160
_FEATURES: Final = 192
_HIDDEN: Final = 256
_FOUND: Final = 320
_TEXT_WIDTH: Final = 128
_TEXT_LAYERS: Final = 2
_TEXT_HEADS: Final = 4
_TEXT_INNER: Final = 256
_VOCABULARY: Final = 1024

_BATCH: Final = 256
_RATE: Final = 2e-3
_WARM_UP: Final = 100
# Texts of frames in a batch, beside those of all names.
_FRAMES_WITH_TEXTS: Final = 64
# SigLIP's start: a large negative bias, since most pairs do not match.
_START_SCALE: Final = math.log(10)
_START_BIAS: Final = -10.0
# Frames that nano's training did not draw.
_FIRST_FRAME: Final = 900_000
_PROCESSES: Final = 2


class ImageHead(nn.Module):
    """Image tokens, [frames, tokens, 192], to vectors, [frames, WIDTH].

    Each of 320 values is the mean of all tokens' with weights of its own, so that it finds what it
    stands for wherever it is, and small things count as much as large ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read = nn.Sequential(
            nn.LayerNorm(_FEATURES), nn.Linear(_FEATURES, _HIDDEN), nn.GELU()
        )
        self._weights = nn.Linear(_HIDDEN, _FOUND)
        self._values = nn.Linear(_HIDDEN, _FOUND)
        self._out = nn.Sequential(nn.LayerNorm(_FOUND), nn.Linear(_FOUND, WIDTH))

    def forward(self, features: Tensor) -> Tensor:
        """Return vectors of length 1."""
        tokens = self._read(features)
        weights = torch.softmax(self._weights(tokens), 1)
        pooled = (weights * self._values(tokens)).sum(1)
        vectors: Tensor = functional.normalize(self._out(pooled), dim=-1)
        return vectors


class TextTower(nn.Module):
    """Token ids, [texts, tokens], 0 behind the end, to vectors, [texts, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self._embed = nn.Embedding(_VOCABULARY, _TEXT_WIDTH)
        self._positions = nn.Parameter(torch.randn(MAX_TOKENS, _TEXT_WIDTH) * 0.02)
        nn.init.normal_(self._embed.weight, std=0.05)
        self._layers = nn.ModuleList(_TextLayer() for _ in range(_TEXT_LAYERS))
        self._out = nn.Sequential(nn.LayerNorm(_TEXT_WIDTH), nn.Linear(_TEXT_WIDTH, WIDTH))

    def forward(self, ids: Tensor) -> Tensor:
        """Return vectors of length 1."""
        is_text = (ids != 0).unsqueeze(-1).to(self._positions.dtype)
        hidden = self._embed(ids) + self._positions[: ids.shape[1]]
        for layer in self._layers:
            hidden = layer(hidden, is_text)
        mean = (hidden * is_text).sum(1) / is_text.sum(1).clamp(min=1)
        vectors: Tensor = functional.normalize(self._out(mean), dim=-1)
        return vectors


class _TextLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._first, self._second = nn.LayerNorm(_TEXT_WIDTH), nn.LayerNorm(_TEXT_WIDTH)
        self._query_key_value = nn.Linear(_TEXT_WIDTH, 3 * _TEXT_WIDTH)
        self._project = nn.Linear(_TEXT_WIDTH, _TEXT_WIDTH)
        self._inner = nn.Sequential(
            nn.Linear(_TEXT_WIDTH, _TEXT_INNER), nn.GELU(), nn.Linear(_TEXT_INNER, _TEXT_WIDTH)
        )

    def forward(self, hidden: Tensor, is_text: Tensor) -> Tensor:
        texts, tokens, _ = hidden.shape
        parts = self._query_key_value(self._first(hidden))
        heads = parts.view(texts, tokens, 3 * _TEXT_HEADS, -1).transpose(1, 2)
        query, key, value = heads.chunk(3, 1)
        scores = query @ key.transpose(-1, -2) / math.sqrt(_TEXT_WIDTH / _TEXT_HEADS)
        scores = scores - 1e4 * (1 - is_text.view(texts, 1, 1, tokens))
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + self._project(mixed)
        output: Tensor = hidden + self._inner(self._second(hidden))
        return output


class Pair(nn.Module):
    """Both towers, with scale and bias of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = ImageHead(), TextTower()
        self.scale = nn.Parameter(torch.tensor(_START_SCALE))
        self.bias = nn.Parameter(torch.tensor(_START_BIAS))

    def forward(self, features: Tensor, *ids: Tensor) -> Tensor:
        """Return the logits that texts are true of frames, [frames, texts].

        `ids` are those of some texts each, so that short texts need no padding to long ones.
        """
        texts = torch.cat([self.text(each) for each in ids])
        logits: Tensor = self.scale.exp() * self.image(features) @ texts.T + self.bias
        return logits


def siglip_loss(logits: Tensor, is_true: Tensor) -> Tensor:
    """Return the mean over frames of the summed loss of their texts.

    `is_true` is [frames, texts] bool. It is -log sigmoid(z), z positive for true pairs.
    """
    signs = is_true.to(logits.dtype) * 2 - 1
    return -functional.logsigmoid(signs * logits).sum(1).mean()


@dataclass(frozen=True)
class Drawn:
    """Frames as nano sees them."""

    features: NDArray[np.float16]
    """[frames, tokens, 192]."""
    scenes: tuple[Scene, ...]


def drawn(count: int, split: Split, first: int) -> Drawn:
    """Draw frames `first`, `first` + 1, ... of a split and encode them, in two processes."""
    numbers = [(first + index, split) for index in range(count)]
    with ProcessPoolExecutor(_PROCESSES) as pool:
        made = list(tqdm(pool.map(_encode, numbers, chunksize=32), total=count, unit="frame"))
    return Drawn(np.stack([each for each, _ in made]), tuple(scene for _, scene in made))


@cache
def _encoder() -> NanoEncoder:
    return NanoEncoder()


def _encode(number: tuple[int, Split]) -> tuple[NDArray[np.float16], Scene]:
    frame = make_frame(*number)
    return _encoder().features(frame.image).astype(np.float16), frame.scene


class Batches:
    """Batches of frames with texts, and which of these are true."""

    def __init__(self, data: Drawn, tokenizer: Tokenizer, seed: int = 0) -> None:
        self._data = data
        self._tokenizer = tokenizer
        self._rng = np.random.default_rng(seed)
        self._facts = [facts_of(scene) for scene in data.scenes]

    def __iter__(self) -> Iterator[tuple[Tensor, list[Tensor], Tensor]]:
        """Yield features, token ids of short and of long texts, and truth, without an end."""
        while True:
            order = self._rng.permutation(len(self._facts))
            for start in range(0, len(order) - _BATCH + 1, _BATCH):
                chosen = order[start : start + _BATCH]
                groups = self._claims(chosen)
                claims = [claim for group in groups for claim in group]
                truth = truth_of(claims, (self._facts[index] for index in chosen))
                yield (
                    torch.from_numpy(self._data.features[chosen].astype(np.float32)),
                    [
                        torch.from_numpy(token_ids(self._tokenizer, [each.text for each in group]))
                        for group in groups
                    ],
                    torch.from_numpy(truth),
                )

    def _claims(self, chosen: NDArray[np.int64]) -> tuple[list[Claim], list[Claim]]:
        scenes = [self._data.scenes[index] for index in chosen[:_FRAMES_WITH_TEXTS]]
        longer = [claim for scene in scenes for claim in claims_of(scene, self._rng)]
        return name_claims(self._rng), longer


def train(data: Drawn, tokenizer: Tokenizer, steps: int) -> Pair:
    """Return a pair trained on `data`."""
    torch.manual_seed(0)
    # The passes are too small for several threads: one was faster beside other work.
    torch.set_num_threads(1)
    pair = Pair()
    optimiser = torch.optim.AdamW(pair.parameters(), _RATE, weight_decay=0.02)
    bar = tqdm(zip(range(steps), Batches(data, tokenizer), strict=False), total=steps, unit="step")
    for step, (features, ids, is_true) in bar:
        rate = min((step + 1) / _WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = _RATE * rate
        # Twice as fast on a CPU with instructions for bfloat16.
        with torch.autocast("cpu", torch.bfloat16):
            logits = pair(features, *ids)
        loss = siglip_loss(logits.float(), is_true)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return pair.eval()


def save(pair: Pair, folder: Path) -> None:
    """Write both towers for OpenVINO, with float16 weights, and the loss's scale and bias."""
    openvino = import_openvino()
    folder.mkdir(parents=True, exist_ok=True)
    towers: dict[str, tuple[nn.Module, Tensor, list[int]]] = {
        "image": (pair.image, torch.zeros(1, 64, _FEATURES), [-1, -1, _FEATURES]),
        "text": (pair.text, torch.ones(2, 4, dtype=torch.int64), [-1, -1]),
    }
    for name, (module, example, shape) in towers.items():
        model = openvino.convert_model(module, example_input=example, input=[shape])
        model.outputs[0].get_tensor().set_names({"vectors"})
        model.set_rt_info(float(pair.scale.detach().exp()), "scale")
        model.set_rt_info(float(pair.bias.detach()), "bias")
        openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=True)


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano.train_pair")
    parser.add_argument("--frames", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=2_400, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    arguments = parser.parse_args(argv)
    data = drawn(arguments.frames, "train", _FIRST_FRAME)
    pair = train(data, Tokenizer.load(BUNDLED_FOLDER), arguments.steps)
    save(pair, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
