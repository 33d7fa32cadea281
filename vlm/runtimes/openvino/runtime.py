"""Forward passes by OpenVINO, the default on a CPU. Nothing here imports torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlm.checkpoints.files import model_size
from vlm.errors import first_line
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, Capability, Predicted
from vlm.runtimes.memory import free_host_bytes
from vlm.runtimes.openvino.cache import (
    EMBEDDINGS_FILE,
    FACTS_FILE,
    TEXT_FILE,
    VISION_FILE,
    Conversion,
    default_cache_folder,
    get_conversion,
)
from vlm.runtimes.openvino.convert import ConversionError, convert_in_a_process
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    Precision,
    compile_on_cpu,
    core,
    memory_errors,
    openvino_here,
)
from vlm.runtimes.openvino.vision import Features, OpenVinoVision, OpenVinoVisionState
from vlm.runtimes.trees import Asked, Tree, asked_rows, logprobs_of

# Long passes are padded to a multiple of 4 rows, which a mask hides; others can take a quarter
# longer: on two cores of a Zen 4, 81 rows took 140 ms, 84 123 ms, 95 183 ms, 96 144 ms.
_ROW_MULTIPLE: Final = 4
_LONGEST_UNPADDED: Final = 32
# A small model's passes take milliseconds, so two other sequences may run between two tokens, and
# the first token waits less for other captions to end. With nine cameras it came after 8.2 instead
# of 10.8 times as long as with one; two cores of a Zen 4 made 44 instead of 38 captions a second.
_SMALL_MODEL_BATCH: Final = 3
# A new state that is fed so many rows at once is fed by the long text model. For a large model it is
# compiled only if frames have several tiles or texts are long, since it takes 200 MB with 256M.
_LONG_PASS: Final = 192
_LONG_PASS_OF_SMALL_MODEL: Final = 32
# So many rows at a time, since the scores of a pass are its rows x all rows of the state.
_LONG_PART: Final = 256
# Its memory: of its rows in a KV cache, and of the file of weights. With SmolVLM-256M's shape 1,332
# rows added 540 MB to the peak, 1,843 with a draft of 511 tokens 900 MB.
_LONG_ROW_FACTOR: Final = 10
_LONG_WEIGHTS_FACTOR: Final = 1.7


class OpenVinoRuntime:
    """`Runtime` over a checkpoint that is converted at its first start."""

    name = "openvino"
    device = "cpu"
    tiles_per_pass = 1
    # A batch of eight is as fast as eight passes one after the other (docs/experiments.md).
    capabilities: frozenset[Capability] = frozenset({"changed", "refeed", "score"})

    def __init__(
        self,
        source: Conversion,
        precision: Precision,
        threads: int | None = None,
        *,
        is_small: bool = False,
    ) -> None:
        """`source` is a complete conversion for `precision`; `threads` None lets OpenVINO choose.

        With `is_small` the passes of several sequences are interleaved.
        """
        self.max_batch = _SMALL_MODEL_BATCH if is_small else 1
        self._long_pass = _LONG_PASS_OF_SMALL_MODEL if is_small else _LONG_PASS
        facts = json.loads((source.folder / FACTS_FILE).read_text(encoding="utf-8"))
        # Kept: the files are memory-mapped, and a temporary folder is deleted with its object.
        self._source = source
        self._image_token_id: int = facts["image_token_id"]
        self.context_tokens: int = facts["context_tokens"]
        self.dtype = precision.name
        # The text model always calculates in float32: see Precision.
        self.exact_splits = True
        self._embeddings: Features = np.load(source.folder / EMBEDDINGS_FILE, mmap_mode="r")
        # By default the plugin starts a thread for each physical core. Without pinning they can
        # leave a busy core: as fast on an idle machine, 13 % faster beside a busy process.
        properties: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        self._text_properties = properties | precision.text_properties
        # Kept, so that a second compiled model shares the mapped file.
        self._text_graph = core().read_model(source.folder / TEXT_FILE)
        self._text = compile_on_cpu(self._text_graph, self._text_properties)
        self._vision = OpenVinoVision(
            source.folder / VISION_FILE, facts, properties | precision.vision_properties
        )
        self.patch_px, self.patches = self._vision.patch_px, self._vision.patches
        self._bytes_per_row = sum(
            4 * state.state.shape[1] * state.state.shape[3]
            for state in self._text.create_infer_request().query_state()
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        precision: Precision,
        on_progress: Callable[[str], None],
        *,
        threads: int | None = None,
        cache_folder: Path | None = None,
    ) -> OpenVinoRuntime:
        """Load the checkpoint in `folder`, converted if the cache does not hold it yet.

        `on_progress` receives a line for each step of a conversion. Raise CheckpointError if files
        are missing, OpenVinoUnavailableError if torch may still run the model.
        """
        made_by = openvino_here().version

        def make(out: Path) -> None:
            convert_in_a_process(
                folder,
                out,
                precision.converter_options,
                lambda text: on_progress(f"Converting the model for OpenVINO, once: {text}"),
            )

        try:
            source = get_conversion(
                folder, precision.variant, made_by, make, cache_folder or default_cache_folder()
            )
            is_small = model_size(folder).parameters < LARGE_MODEL_PARAMETERS
            return cls(source, precision, threads, is_small=is_small)
        except (ConversionError, OSError, RuntimeError) as error:
            raise OpenVinoUnavailableError(
                f"OpenVINO does not run {folder.name}: {first_line(error)}."
            ) from error

    def encode_image(self, pixel_values: PixelValues) -> Features:
        """Return the features of [tiles, 3, side, side]: [tiles * tokens per tile, hidden].

        Raise ValueError for a side that is larger than the model's, or has no whole tokens.
        """
        with memory_errors():
            return self._vision.encode(pixel_values)

    def new_vision_state(self, side_px: int) -> OpenVinoVisionState:
        with memory_errors():
            return self._vision.new_state(side_px)

    def encode_changed(
        self,
        state: OpenVinoVisionState,
        pixel_values: PixelValues,
        changed: npt.NDArray[np.int64],
    ) -> Features:
        with memory_errors():
            return state.encode(pixel_values, changed)

    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[Features],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[OpenVinoKVState, Predicted]:
        """Raise ValueError if the number of image tokens differs from that of the features."""
        embeds = self._embed(input_ids, features)
        return self._fill(None, np.arange(len(embeds)), embeds, count, want_logits)

    def refeed(
        self,
        state: OpenVinoKVState,
        positions: npt.NDArray[np.int64],
        input_ids: Sequence[int],
        features: Sequence[Features],
        count: int,
        want_logits: bool = False,
    ) -> tuple[OpenVinoKVState, Predicted]:
        embeds = self._embed(input_ids, features)
        return self._fill(state, positions, embeds, count, want_logits)

    def verify(
        self,
        state: OpenVinoKVState,
        token_ids: Sequence[int],
        count: int,
        want_logits: bool = False,
    ) -> Predicted:
        return self._feed(state, self._embeddings[list(token_ids)], count, want_logits)

    def decode(self, state: OpenVinoKVState, token_id: int, want_logits: bool = False) -> Predicted:
        return self._feed(state, self._embeddings[[token_id]], 1, want_logits)

    def truncate(self, state: OpenVinoKVState, length: int) -> None:
        state.truncate(length)

    def fork(self, state: OpenVinoKVState, length: int) -> OpenVinoKVState:
        return self._copy(state, np.arange(length), self._text)

    def score(self, state: OpenVinoKVState, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        copy, rows = self.fork(state, state.length), asked_rows(asked)
        spare = _spare_rows(len(tree))
        mask = np.zeros((len(tree) + spare, copy.rows + len(tree) + spare), np.bool_)
        mask[: len(tree), : copy.rows + len(tree)] = tree.mask(copy.positions)
        # A row of padding sees itself, since a row that sees nothing has no softmax.
        np.fill_diagonal(mask[:, copy.rows :], True)
        positions = np.pad(state.length + tree.depths(), (0, spare), mode="edge")
        self._infer(copy, self._embeddings[list(tree.token_ids)], positions, mask, np.array(rows))
        logits = copy.request.get_output_tensor(1).data[0]
        return logprobs_of(logits, rows, asked)

    def _embed(self, input_ids: Sequence[int], features: Sequence[Features]) -> Features:
        """Return [len(input_ids), hidden]; raise ValueError if image tokens and features differ."""
        ids = np.asarray(input_ids)
        embeds: Features = self._embeddings[ids]
        is_image = ids == self._image_token_id
        rows = sum(map(len, features))
        if int(is_image.sum()) != rows:
            raise ValueError(f"{int(is_image.sum())} image tokens, but {rows} features")
        if rows:
            embeds[is_image] = np.concatenate(list(features))
        return embeds

    @cached_property
    def _long_text(self) -> Any:
        """The text model for passes of many rows, compiled at the first one.

        The plugin's attention over a state is made for single rows. As products of matrices, 875
        rows of SmolVLM-256M's shape take 1.2 instead of 3.2 s and 100 of `nano` 4.0 instead of 6.7
        ms, but a single row behind 864 takes 66 instead of 23 ms, since keys and values are copied
        (two cores of a Xeon with AMX).
        """
        with memory_errors():
            model = self._text_graph.clone()
            for node in model.get_ops():
                # The gather by which the plugin recognises a state.
                if node.get_type_name() == "Gather":
                    state = node.input(0).get_source_output()
                    if state.get_node().get_type_name() == "ReadValue":
                        node.output(0).replace(state)
            return compile_on_cpu(model, self._text_properties)

    def _is_long(self, new: int, rows: int) -> bool:
        """Return whether the long text model feeds `new` of `rows`: it must be faster and fit."""
        if new < _LONG_PASS:
            return new >= self._long_pass
        needed = _LONG_ROW_FACTOR * rows * self._bytes_per_row
        if "_long_text" not in self.__dict__:
            weights = (self._source.folder / TEXT_FILE).with_suffix(".bin").stat().st_size
            needed += int(_LONG_WEIGHTS_FACTOR * weights)
        return free_host_bytes() > needed

    def _copy(
        self, state: OpenVinoKVState | None, positions: npt.NDArray[np.int64], text: Any
    ) -> OpenVinoKVState:
        """Return a new state of the model `text` with the tokens of `state` at `positions`."""
        with memory_errors():
            copy = OpenVinoKVState(text.create_infer_request(), self._bytes_per_row)
            if state is not None:
                state.copy_to(copy, positions)
            return copy

    def _fill(
        self,
        old: OpenVinoKVState | None,
        positions: npt.NDArray[np.int64],
        embeds: Features,
        count: int,
        want_logits: bool,
    ) -> tuple[OpenVinoKVState, Predicted]:
        """Return a new state with `embeds` at `positions`, the others before them from `old`."""
        others = np.setdiff1d(np.arange(positions[-1]), positions)
        if not self._is_long(len(embeds), len(others) + len(embeds)):
            state = self._copy(old, others, self._text)
            return state, self._feed(state, embeds, count, want_logits, positions)
        state = self._copy(old, others, self._long_text)
        # All that is predicted is in the last part.
        starts = [0, *range(_LONG_PART, len(embeds) - count, _LONG_PART), len(embeds)]
        for start, end in itertools.pairwise(starts):
            is_last = end == len(embeds)
            predicted = self._feed(
                state,
                embeds[start:end],
                count if is_last else 1,
                want_logits and is_last,
                positions[start:end],
            )
        copied = self._copy(state, np.arange(positions[-1] + 1), self._text)
        if len(embeds) >= _LONG_PASS:
            # The graph would keep tensors of this size: 200 MB after 1,332 rows of 256M's shape.
            del state
            self._long_text.release_memory()
        return copied, predicted

    def _feed(
        self,
        state: OpenVinoKVState,
        embeds: Features,
        count: int,
        want_logits: bool,
        positions: npt.NDArray[np.int64] | None = None,
    ) -> Predicted:
        """Feed tokens with `embeds`, [new, hidden]; predict after the last `count`.

        `positions` [new] rise; by default they follow the last one of `state`.
        """
        new = len(embeds)
        spare = _spare_rows(new)
        if positions is None:
            positions = np.arange(state.length, state.length + new)
        padded = np.append(positions, positions[-1] + 1 + np.arange(spare))
        self._infer(state, embeds, padded, state.mask(padded), np.arange(new - count, new))
        ids: list[int] = state.request.get_output_tensor(0).data[0].tolist()
        # Copied: the tensor belongs to the request, and its next pass overwrites it.
        logits = np.array(state.request.get_output_tensor(1).data[0]) if want_logits else None
        state.append(positions, spare)
        return Predicted(ids, logits)

    def _infer(
        self,
        state: OpenVinoKVState,
        embeds: Features,
        positions: npt.NDArray[np.int64],
        mask: npt.NDArray[np.bool_],
        wanted: npt.NDArray[np.int64],
    ) -> None:
        """Run a pass; its request then has the argmax and the logits after the rows `wanted`.

        `positions`, [new], may be more than `embeds`; `mask` is [new, rows of `state` + new].
        """
        spare = len(positions) - len(embeds)
        inputs = {
            "embeds": np.pad(embeds, ((0, spare), (0, 0)))[None],
            "positions": positions[None],
            "mask": mask[None, None],
            "wanted": wanted,
            "beams": np.zeros(1, np.int32),
        }
        with memory_errors():
            state.request.infer(inputs, share_inputs=True)


def _spare_rows(new: int) -> int:
    """Return how many rows of padding make a pass of `new` rows faster."""
    return -new % _ROW_MULTIPLE if new > _LONGEST_UNPADDED else 0


# The CPU plugin doubles its capacity whenever it is full.
_SPARE_CAPACITY: Final = 2
_MASKED: Final = -1


class OpenVinoKVState:
    """Rows of keys and values in `request`; those of rejected tokens are masked.

    Removing rows would copy all others; a masked row only adds a term of weight zero.
    """

    def __init__(self, request: Any, bytes_per_row: int) -> None:
        """`request` is new; each token adds `bytes_per_row`."""
        self.request = request
        self._bytes_per_row = bytes_per_row
        self.positions: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        """Of each row; _MASKED for one that counts no more."""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return int(np.count_nonzero(self.positions != _MASKED))

    @property
    def rows(self) -> int:
        """Number of rows, those of rejected tokens and of padding included."""
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """Memory of the request, rejected tokens and spare capacity included."""
        return self.rows * self._bytes_per_row * _SPARE_CAPACITY

    def mask(self, new: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return the causal attention mask of tokens at positions `new`, which rise.

        Its shape is [new, rows + new].
        """
        mask = np.empty((len(new), self.rows + len(new)), np.bool_)
        np.less_equal(self.positions, new[:, None], out=mask[:, : self.rows])
        mask[:, : self.rows] &= self.positions != _MASKED
        mask[:, self.rows :] = np.tri(len(new), dtype=np.bool_)
        return mask

    def append(self, positions: npt.NDArray[np.int64], spare: int = 0) -> None:
        """Note that the request holds tokens at `positions`, and `spare` rows of padding more."""
        self.positions = np.concatenate([self.positions, positions, np.full(spare, _MASKED)])

    def truncate(self, length: int) -> None:
        """Mask out all but the first `length` tokens."""
        self.positions[self.positions >= length] = _MASKED

    def copy_to(self, other: OpenVinoKVState, positions: npt.NDArray[np.int64]) -> None:
        """Copy the tokens at `positions` into `other`, which is new."""
        rows = np.flatnonzero(np.isin(self.positions, positions))
        # A slice is copied faster than single rows.
        is_prefix = len(rows) == 0 or rows[-1] == len(rows) - 1
        kept = slice(len(rows)) if is_prefix else rows
        targets = {target.name: target for target in other.request.query_state()}
        for source in self.request.query_state():
            targets[source.name].state = source.state.__class__(
                np.ascontiguousarray(source.state.data[:, :, kept])
            )
        other.append(self.positions[rows])
