"""Forward passes by PyTorch over transformers' modules: CUDA, MPS, XPU and the CPU reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForImageTextToText, DynamicCache
from transformers.utils import logging

from vlm.checkpoints.files import CONFIG_FILE
from vlm.errors import CheckpointError, first_line
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, Attended, Capability, Predicted
from vlm.runtimes.torch.changed_vision import ChangedVision
from vlm.runtimes.torch.devices import device_errors
from vlm.runtimes.trees import Asked, Tree, asked_rows, logprobs_of

# A GPU is idle most of the time on one tile; a CPU is not, and can be interrupted between tiles.
_TILES_PER_PASS_ON_GPU: Final = 32
_THREADS: Final = torch.get_num_threads()


class TorchKVState:
    """A `KVState` over a transformers Cache, whose layers grow with each appended token."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        return int(self.cache.get_seq_length())

    @property
    def nbytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)


class TorchVisionState:
    """A `VisionState`: see `ChangedVision`."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self.tensors = tensors

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.tensors)


class TorchRuntime:
    """`Runtime` over an Idefics3 or SmolVLM model, by PyTorch's operations one by one."""

    name = "torch"
    max_batch = 1

    def __init__(self, model: Any, device: torch.device) -> None:
        """`model` is loaded and in evaluation mode; `device` is where its inputs go."""
        self._model = model
        # The parts of a model that is spread over devices are moved by hooks of accelerate.
        is_spread = len({each.device for each in model.parameters()}) > 1
        self.capabilities: frozenset[Capability] = frozenset(
            () if is_spread else ("changed", "looks", "patches", "score")
        )
        self.layers: int = model.config.text_config.num_hidden_layers
        vision = model.config.vision_config
        self.patch_px: int = vision.patch_size
        self.patches: int = (vision.image_size // vision.patch_size) ** 2
        self._embed = model.get_input_embeddings()
        self._image_token_id: int = model.config.image_token_id
        self._device = device
        self.device = str(device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        # In bfloat16 and float16 torch's results depend on the number of rows in a pass: on random
        # weights of SmolVLM-256M's shape 5 of 10 second answers to the same frame and question
        # differed, and none in float32.
        self.exact_splits = model.dtype == torch.float32
        self.context_tokens: int = model.config.text_config.max_position_embeddings
        self.tiles_per_pass = 1 if device.type == "cpu" else _TILES_PER_PASS_ON_GPU
        # A small model's matrices are too small for several threads: on an idle machine one thread
        # is as fast as two, and beside a busy browser several times faster: threads need not wait
        # for each other.
        is_small = model.num_parameters() < LARGE_MODEL_PARAMETERS
        self._threads = 1 if is_small else _THREADS

    @torch.inference_mode()
    def encode_image(self, pixel_values: PixelValues) -> torch.Tensor:
        """Return the features of [tiles, 3, side, side]: [tiles * tokens per tile, hidden]."""
        with self._step():
            pixels = torch.from_numpy(pixel_values).unsqueeze(0).to(self._device)
            # The model casts to its own dtype.
            return torch.cat(self._model.get_image_features(pixel_values=pixels).pooler_output)

    def features_array(self, features: torch.Tensor) -> npt.NDArray[np.float32]:
        with self._step():
            array: npt.NDArray[np.float32] = features.float().cpu().numpy()
            return array

    def new_vision_state(self, side_px: int) -> TorchVisionState:
        with device_errors():
            return TorchVisionState(self._changed_vision.new_state(side_px, self._device))

    @torch.inference_mode()
    def encode_changed(
        self, state: TorchVisionState, pixel_values: PixelValues, changed: npt.NDArray[np.int64]
    ) -> torch.Tensor:
        with self._step():
            pixels = torch.from_numpy(pixel_values).to(self._device)
            indices = torch.from_numpy(changed).to(self._device)
            features: torch.Tensor
            features, *state.tensors = self._changed_vision(pixels, indices, state.tensors)
            return features

    @torch.inference_mode()
    def patch_features(self, pixel_values: PixelValues) -> npt.NDArray[np.float32]:
        with self._step():
            state = self._changed_vision.new_state(pixel_values.shape[-1], self._device)
            every = torch.arange(state[-1].shape[1], device=self._device)
            found = []
            for tile in torch.from_numpy(pixel_values).to(self._device):
                *_, last = self._changed_vision(tile[None], every, state)
                found.append(last.float().cpu().numpy())
            return np.concatenate(found)

    @cached_property
    def _changed_vision(self) -> ChangedVision:
        return ChangedVision(self._model, self._model.dtype)

    @torch.inference_mode()
    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[torch.Tensor],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[TorchKVState, Predicted]:
        """Raise ValueError if the number of image tokens differs from that of the features."""
        with self._step():
            ids = torch.tensor([input_ids], device=self._device)
            embeds = self._embed(ids)
            image_positions = ids == self._image_token_id
            rows = sum(map(len, features))
            if int(image_positions.sum()) != rows:
                raise ValueError(f"{int(image_positions.sum())} image tokens, but {rows} features")
            if rows:
                embeds[image_positions] = torch.cat(list(features)).to(embeds.device, embeds.dtype)
            output = self._model(inputs_embeds=embeds, use_cache=True, logits_to_keep=count)
            return TorchKVState(output.past_key_values), predicted(output.logits[0], want_logits)

    @torch.inference_mode()
    def verify(
        self, state: TorchKVState, token_ids: Sequence[int], count: int, want_logits: bool = False
    ) -> Predicted:
        with self._step():
            # Embedded here: the model would move the ids to the device of its first weight, which
            # can be "meta" if the model is spread over devices.
            embeds = self._embed(torch.tensor([token_ids], device=self._device))
            output = self._model(
                inputs_embeds=embeds,
                past_key_values=state.cache,
                use_cache=True,
                logits_to_keep=count,
            )
            return predicted(output.logits[0], want_logits)

    def decode(self, state: TorchKVState, token_id: int, want_logits: bool = False) -> Predicted:
        return self.verify(state, [token_id], 1, want_logits)

    def truncate(self, state: TorchKVState, length: int) -> None:
        # The argument of Cache.crop has other meanings in other releases.
        for layer in state.cache.layers:
            layer.keys = layer.keys[:, :, :length]
            layer.values = layer.values[:, :, :length]

    @torch.inference_mode()
    def fork(self, state: TorchKVState, length: int) -> TorchKVState:
        with self._step():
            kept = [
                (layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone())
                for layer in state.cache.layers
            ]
            return TorchKVState(DynamicCache(kept))

    @torch.inference_mode()
    def score(self, state: TorchKVState, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        known, rows = state.length, asked_rows(asked)
        with self._step():
            output = self._model.model.text_model(
                inputs_embeds=self._embed(torch.tensor([tree.token_ids], device=self._device)),
                # A mask of four dimensions is used as it is.
                attention_mask=torch.from_numpy(tree.mask(np.arange(known)))[None, None].to(
                    self._device
                ),
                position_ids=torch.from_numpy(known + tree.depths())[None].to(self._device),
                # Layers of a cache take new tensors when they grow, so the state keeps its own.
                past_key_values=DynamicCache(
                    [(layer.keys, layer.values) for layer in state.cache.layers]
                ),
                use_cache=True,
            )
            logits = self._model.lm_head(output.last_hidden_state[0, rows])
            return logprobs_of(logits.float().cpu().numpy(), rows, asked)

    @torch.inference_mode()
    def looks(
        self, state: TorchKVState, length: int, token_ids: Sequence[int], layers: Sequence[int]
    ) -> Attended:
        with self._step(), self._weights_returned():
            output = self._model.model.text_model(
                inputs_embeds=self._embed(torch.tensor([token_ids], device=self._device)),
                past_key_values=DynamicCache(
                    [
                        (layer.keys[:, :, :length], layer.values[:, :, :length])
                        for layer in state.cache.layers
                    ]
                ),
                use_cache=True,
                output_attentions=True,
            )
            logits = self._model.lm_head(output.last_hidden_state[0])
            weights = torch.stack([output.attentions[each][0] for each in layers])
            return Attended(weights.float().cpu().numpy(), logits.float().cpu().numpy())

    @contextmanager
    def _weights_returned(self) -> Iterator[None]:
        """Let the text model use the only attention of transformers that returns its weights."""
        text = self._model.model.text_model
        usual = text.config._attn_implementation
        text.set_attn_implementation("eager")
        try:
            yield
        finally:
            text.set_attn_implementation(usual)

    @contextmanager
    def _step(self) -> Iterator[None]:
        # A setting of the calling thread, which another runtime may have changed.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with device_errors():
            yield


def load_model(
    folder: Path,
    dtype: Any,
    device: str,
    *,
    spread: bool = False,
    model_class: Any = AutoModelForImageTextToText,
) -> Any:
    """Load the transformers model of a checked checkpoint `folder`, ready for inference.

    `model_class` is a class of transformers that loads it.
    With `spread` accelerate splits it over all GPUs, and CPU memory if those are too small.
    Raise CheckpointError if weights are missing, or of another shape than in the configuration;
    MemoryError or DeviceFailedError because of the device.
    """
    logging.disable_progress_bar()
    try:
        with device_errors():
            model, report = model_class.from_pretrained(
                folder,
                dtype=dtype,
                device_map="auto" if spread else None,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                # Reported below by name; transformers' error would refer to a table on the
                # terminal.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            model = model if spread else model.to(device)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"The model in {folder} cannot be loaded: {first_line(error)}"
        ) from error
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise CheckpointError(
            f"The weights in {folder} do not fit its {CONFIG_FILE}: {len(absent)} tensors are "
            f"missing or of another shape, {absent[0]} for one. Get the whole checkpoint again."
        )
    return model.eval()


def predicted(logits: torch.Tensor, want_logits: bool) -> Predicted:
    """Return the argmax of each row of `logits`, [rows, vocabulary], and the logits if wanted."""
    # In float32, as transformers' generate does, so that ties of coarser formats fall the same.
    rows = logits.float()
    return Predicted(rows.argmax(-1).tolist(), rows.cpu().numpy() if want_logits else None)
