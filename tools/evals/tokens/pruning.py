"""Choose the image tokens to keep, and caption with these alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vlm.engine.inputs import InputBuilder
from vlm.processing.tokenizer import stop_ids
from vlm.runtimes.torch.eager import load_model

Indices: TypeAlias = npt.NDArray[np.int64]

_LEAST_NORM: Final = 1e-9


def diverse(features: npt.NDArray[np.float32], count: int) -> Indices:
    """Return `count` rows of `features`, [tokens, hidden], chosen by max-min diversity.

    Each next one is the farthest, by cosine, from its nearest among those chosen before; the first
    one is the farthest from its nearest of all (DivPrune, Alvar et al., CVPR 2025).
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(norms, _LEAST_NORM)
    distances = 1 - unit @ unit.T
    others = distances + np.diag(np.full(len(unit), np.inf))
    chosen = [int(others.min(1).argmax())]
    nearest = distances[chosen[0]].copy()
    while len(chosen) < count:
        nearest[chosen[-1]] = -np.inf
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return np.sort(np.array(chosen))


def at_random(features: npt.NDArray[np.float32], count: int, seed: int) -> Indices:
    """Return `count` rows of `features` by chance."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(len(features), count, replace=False))


class PrunedModel:
    """A checkpoint in torch, which answers with some of the image tokens."""

    def __init__(self, folder: Path) -> None:
        # Several threads are slower with matrices this small.
        torch.set_num_threads(1)
        self._model: Any = load_model(folder, torch.float32, "cpu")
        self._inputs = InputBuilder.load(folder)
        self._stop_ids = stop_ids(folder, self._inputs.tokenizer)

    @torch.inference_mode()
    def features(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Return the features of an RGB image in one tile, [tokens, hidden]."""
        pixels = torch.from_numpy(self._inputs.image_processor.pixel_values(image, "low"))
        output = self._model.get_image_features(pixel_values=pixels[None])
        return np.asarray(torch.cat(list(output.pooler_output)).numpy())

    @torch.inference_mode()
    def answer(
        self,
        features: npt.NDArray[np.float32],
        prompt: str,
        kept: Indices,
        max_tokens: int,
        closes_gaps: bool = False,
    ) -> str:
        """Return the greedy answer about an image with `features`, of which `kept` are fed.

        Each token keeps its own position, or with `closes_gaps` takes the next one.
        """
        grid = self._inputs.image_processor.grid_of((1, 1), "low")
        ids = np.array(self._inputs.chat_ids((("user", (grid, prompt)),)))
        image = np.flatnonzero(ids == self._inputs.image_token_id)
        embeds = self._model.get_input_embeddings()(torch.from_numpy(ids))
        embeds[image] = torch.from_numpy(features)
        positions = np.setdiff1d(np.arange(len(ids)), np.delete(image, kept))
        answer: list[int] = []
        cache: Any = None
        rows = embeds[positions]
        places = np.arange(len(positions)) if closes_gaps else positions
        length = len(positions)
        while len(answer) < max_tokens and not self._stop_ids.intersection(answer[-1:]):
            output = self._model(
                inputs_embeds=rows[None],
                # With a mask, positions with gaps are not taken for several sequences.
                attention_mask=torch.ones(1, length, dtype=torch.int64),
                position_ids=torch.from_numpy(places)[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            answer.append(int(output.logits[0, -1].argmax()))
            rows = self._model.get_input_embeddings()(torch.tensor(answer[-1:]))
            places, length = places[-1:] + 1, length + 1
        return self._text(answer)

    def _text(self, ids: Sequence[int]) -> str:
        words = [each for each in ids if each not in self._stop_ids]
        return self._inputs.tokenizer.decode(words).strip()
