"""The bundled dual encoder on nano's scenes, beside the model that captions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from tools.evals.figures import Figure, share
from tools.evals.truth.asking import LocalModel
from tools.evals.truth.scenes import LABELS, names_in, scenes_with_objects, single_objects
from tools.nano.scenes import Frame, Split
from tools.nano.truth import Scene
from vlm.pairs.nano_pair import NanoPair
from vlm.settings import Settings

_SPLIT: Final[Split] = "held_out"
# Frames of several objects among which a label is searched.
_SEARCHED: Final = 150
# Away from those of the single objects.
_FIRST_SEARCHED: Final = 20_000


def pair_figures(scenes: int) -> list[Figure]:
    """Return the figures of the dual encoder, and those of the model on the same scenes."""
    pair, model = NanoPair(), LocalModel(Settings(model="nano"))
    labels = pair.text_vectors(LABELS)
    right = model_right = 0
    took: dict[str, list[float]] = {"dual encoder": [], "model": []}
    for frame, name in single_objects(scenes, _SPLIT):
        began_s = time.perf_counter()
        (vector,) = pair.image_vectors([frame.image])
        right += LABELS[int((labels @ vector).argmax())] == name
        took["dual encoder"].append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        model_right += model.labels(frame.image, LABELS).labels[0].label == name
        took["model"].append(time.perf_counter() - began_s)
    times = {who: f"{median(each) * 1000:.1f} ms a frame" for who, each in took.items()}
    found = [
        share("pair_top1", right, scenes, times["dual encoder"], least=0.97),
        share("model_top1", model_right, scenes, times["model"]),
        *_recall(pair),
        *_binding(pair, model),
    ]
    model.close()
    return found


def _recall(pair: NanoPair) -> Iterator[Figure]:
    """Yield how often the frame nearest to a label, of those that show several, shows it."""
    frames = [each for each in _several(4 * _SEARCHED)][:_SEARCHED]
    vectors = pair.image_vectors([each.image for each in frames])
    shown = [names_in(each.scene) for each in frames]
    present = [label for label in LABELS if any(label in names for names in shown)]
    nearest = (pair.text_vectors(present) @ vectors.T).argmax(1)
    right = sum(label in shown[index] for label, index in zip(present, nearest, strict=True))
    yield share("pair_r1", right, len(present), f"labels, {len(frames)} frames", least=0.85)


def _binding(pair: NanoPair, model: LocalModel) -> Iterator[Figure]:
    """Yield how often the right colours of two things are nearer than exchanged ones."""
    right = model_right = total = 0
    for frame in _several(2 * _SEARCHED):
        swap = _swapped(frame.scene)
        if swap is None:
            continue
        names, swapped = swap
        total += 1
        (vector,) = pair.image_vectors([frame.image])
        true, false = pair.text_vectors([", ".join(names), ", ".join(swapped)]) @ vector
        right += bool(true > false)
        likely = model.existence(frame.image, [*names, *swapped])
        model_right += likely[0] * likely[1] > likely[2] * likely[3]
    yield share("pair_binding", right, total, "pairs of things")
    yield share("model_binding", model_right, total, "the same")


def _several(tried: int) -> Iterator[Frame]:
    """Yield those of `tried` scenes that show several objects."""
    for _, frame in scenes_with_objects(tried, _SPLIT, _FIRST_SEARCHED):
        if len(frame.scene.objects) > 1 and frame.scene.kind == "objects":
            yield frame


def _swapped(scene: Scene) -> tuple[Sequence[str], Sequence[str]] | None:
    """Return the names of the first two objects, and these with each other's colour.

    None if they share one of both, or if the scene shows an exchanged name too.
    """
    one, other = scene.objects[:2]
    swapped = (f"{other.colour} {one.shape}", f"{one.colour} {other.shape}")
    if {*swapped} & names_in(scene):
        return None
    return (f"{one.colour} {one.shape}", f"{other.colour} {other.shape}"), swapped
