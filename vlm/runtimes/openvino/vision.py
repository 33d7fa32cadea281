"""The vision encoder by OpenVINO: whole tiles, tiles of other sides, and tiles changed in part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlm.processing.image_processor import PixelValues
from vlm.runtimes.openvino.platform import compile_on_cpu, core

Features = npt.NDArray[np.float32]

# Of a state's tensors, [1, patches, hidden].
_PATCHES_AXIS: Final = 1


class OpenVinoVision:
    """Vision encoder and connector: `ChangedVision`, converted."""

    def __init__(
        self, file: Path, facts: Mapping[str, int], properties: Mapping[str, object]
    ) -> None:
        """Compile the graph in `file` with `properties` of the plugin.

        `facts` has the sides of the model's tile and patch, "tile_px" and "patch_px", and the
        patches in a row of a token, "patches_per_token".
        """
        self.patch_px = facts["patch_px"]
        self._tile_px = facts["tile_px"]
        self._patches_per_token = facts["patches_per_token"]
        self.patches = self._patches_of(self._tile_px)
        self._file, self._properties = file, properties
        self._of_own_side = self._compiled()
        # Of the last tile of the model's own side that was encoded whole, and of another side.
        self._whole: dict[bool, OpenVinoVisionState] = {}

    def encode(self, pixel_values: PixelValues) -> Features:
        """Return the features of [tiles, 3, side, side]: [tiles * tokens per tile, hidden].

        Raise ValueError for a side that is larger than the model's, or has no whole tokens.
        """
        state, every = self._state_for(pixel_values)
        return np.concatenate([state.encode(tile[None], every) for tile in pixel_values])

    def encode_patches(self, pixel_values: PixelValues) -> Features:
        """Return the last hidden states of the layers, [tiles, patches, hidden].

        Raise ValueError as `encode` does.
        """
        state, every = self._state_for(pixel_values)
        found = []
        for tile in pixel_values:
            state.encode(tile[None], every)
            found.append(state.last_hidden())
        return np.concatenate(found)

    def _state_for(
        self, pixel_values: PixelValues
    ) -> tuple[OpenVinoVisionState, npt.NDArray[np.int64]]:
        """Return the state in which whole tiles are encoded, and the indices of all patches."""
        side_px = pixel_values.shape[-1]
        if side_px > self._tile_px or side_px // self.patch_px % self._patches_per_token:
            raise ValueError(f"tiles of {side_px} pixels, but a model for {self._tile_px}")
        is_own = side_px == self._tile_px
        state = self._whole.get(is_own)
        if state is None or state.side_px != side_px:
            state = self._whole[is_own] = self.new_state(side_px)
        return state, np.arange(self._patches_of(side_px))

    def new_state(self, side_px: int) -> OpenVinoVisionState:
        """Return a state without content for tiles of a side."""
        if side_px == self._tile_px:
            return OpenVinoVisionState(self._of_own_side.create_infer_request(), side_px)
        request = self._of_any_side.create_infer_request()
        for each in request.query_state():
            tensor = each.state
            shape = list(tensor.shape)
            shape[_PATCHES_AXIS] = self._patches_of(side_px)
            # Its content is not read: the first pass writes all of it.
            each.state = tensor.__class__(tensor.element_type, shape)
        return OpenVinoVisionState(request, side_px)

    def _patches_of(self, side_px: int) -> int:
        return (side_px // self.patch_px) * (side_px // self.patch_px)

    def _compiled(self) -> Any:
        """Return the graph for tiles of the model's own side.

        Its shapes are constant, which saves 3 % of a pass on two cores of a Xeon with AMX.
        """
        model = core().read_model(self._file)
        shapes = {}
        for variable in model.get_variables():
            shape = variable.info.data_shape
            shape[_PATCHES_AXIS] = self.patches
            shapes[variable.info.variable_id] = shape
        model.reshape({"pixel_values": [1, 3, self._tile_px, self._tile_px]}, shapes)
        return compile_on_cpu(model, self._properties)

    @cached_property
    def _of_any_side(self) -> Any:
        """The graph for tiles of any side; compiled when it is needed, since it takes memory."""
        return compile_on_cpu(self._file, self._properties)


class OpenVinoVisionState:
    """The keys, values and last hidden states of a tile in `request`."""

    def __init__(self, request: Any, side_px: int) -> None:
        self.side_px = side_px
        self._request = request
        # The plugin writes to a second copy and swaps.
        self.nbytes: int = 2 * sum(each.state.byte_size for each in request.query_state())

    def encode(self, pixel_values: PixelValues, changed: npt.NDArray[np.int64]) -> Features:
        """Return the features of one tile, [1, 3, side, side], of which `changed` are computed."""
        inputs = {"pixel_values": pixel_values, "changed": changed}
        self._request.infer(inputs, share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)

    def last_hidden(self) -> Features:
        """Return the last hidden states of the tile's patches, [1, patches, hidden], in float32."""
        # They are the last variable; the names are "past_24past_24_present" and so on.
        tensor = max(
            self._request.query_state(),
            key=lambda each: int(each.name.removeprefix("past_").split("past_")[0]),
        ).state
        if tensor.element_type.to_string() == "bf16":
            # NumPy has no bfloat16: it is the upper half of float32.
            halves = np.frombuffer(tensor.data, np.uint16).reshape(tensor.shape)
            widened: Features = (halves.astype(np.uint32) << 16).view(np.float32)
            return widened
        return np.array(tensor.data, np.float32)
