"""The small models together: boxes, things and text of a frame, and vectors to compare frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image

from vlm.checkpoints.detectors import NO_DETECTOR
from vlm.checkpoints.pairs import NO_PAIR
from vlm.errors import PartOffError, SightlineError
from vlm.finder.parts import Part, PartStatus
from vlm.results import Box, TextLine
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.classify.classifier import Classifier
    from vlm.detect.detector import Detector
    from vlm.finder.checks import Look
    from vlm.pairs.pair import Pair
    from vlm.reading.reader import Reader

CLASSIFIER_NAME: Final = "efficientnet-lite0"
READER_NAME: Final = "rapidocr"
# Looks of witnesses in flight and waiting; each holds a frame. More are not made.
MAX_LOOKS: Final = 4
# If a person asks for a thing by its name, so much is enough to show it.
_ASKED_SCORE: Final = 0.3


@dataclass(frozen=True)
class FinderStatus:
    """The small models: each by its name, None if it is off or failed to load."""

    detector: str | None
    classes: tuple[str, ...]
    """The names that the detector's boxes can have; empty if it finds what phrases name."""
    classifier: str | None
    reader: str | None
    problem: str | None
    """Their errors, in words for people."""


@dataclass(frozen=True)
class Found:
    """The boxes of a frame."""

    boxes: tuple[Box, ...]
    detector: str
    unknown: tuple[str, ...] = ()
    """Names that were asked for and that the detector does not know."""


By = Literal["detector", "classifier", "both"]


@dataclass(frozen=True)
class Thing:
    """A thing that a frame shows."""

    name: str
    probability: float
    """0 to 1; of a box its score."""
    by: By


@dataclass(frozen=True)
class Things:
    """The things of a frame, the likeliest first, and where it was made."""

    things: tuple[Thing, ...]
    place: str | None


class Finder:
    """The small models of one process. Safe from any thread; nothing is loaded before `start`."""

    def __init__(self, settings: Settings) -> None:
        is_off = settings.detector == NO_DETECTOR
        self.detector: Part[Detector] = Part(
            "detector",
            None if is_off else settings.detector,
            lambda: _load_detector(settings),
        )
        self.classifier: Part[Classifier] = Part("classifier", CLASSIFIER_NAME, _load_classifier)
        self.reader: Part[Reader] = Part("reader", READER_NAME, _load_reader)
        self.pair: Part[Pair] = Part(
            "dual encoder",
            None if settings.pair == NO_PAIR else settings.pair,
            lambda: _load_pair(settings),
        )
        self._settings = settings
        # A look takes some 60 ms and reading 200: neither waits for the other.
        self.looking = ThreadPoolExecutor(1, "finder-look")
        self.reading = ThreadPoolExecutor(1, "finder-read")
        # Detector and classifier see a frame side by side, each on a core.
        self._classifying = ThreadPoolExecutor(1, "finder-classify")
        self._places = threading.BoundedSemaphore(MAX_LOOKS)
        self._started = threading.Event()

    def start(self) -> None:
        """Begin to load detector and classifier, which takes half a second; return at once.

        The reader takes two seconds and is loaded when a frame is first read.
        """
        if not self._started.is_set() and self.detector.is_usable:
            self._started.set()
            # A thread of its own: a detector may be downloaded first.
            threading.Thread(target=self._load, name="finder-load", daemon=True).start()

    def close(self) -> None:
        """Make no more looks."""
        self.looking.shutdown(wait=False, cancel_futures=True)
        self.reading.shutdown(wait=False, cancel_futures=True)
        self._classifying.shutdown(wait=False)

    @property
    def can_look(self) -> bool:
        """Return whether detector and classifier are there, as far as known."""
        return self.detector.is_usable and self.classifier.is_usable

    def status(self) -> FinderStatus:
        """Return a snapshot of the small models."""
        parts = self.parts()
        problems = [part.problem for part in parts if part.problem]
        return FinderStatus(
            *(parts[0].name, _classes(self._settings.detector) if parts[0].name else ()),
            *(parts[1].name, parts[2].name),
            problem=" ".join(problems) or None,
        )

    def parts(self) -> tuple[PartStatus, ...]:
        """Return a snapshot of detector, classifier, reader and dual encoder."""
        parts = (self.detector, self.classifier, self.reader, self.pair)
        return tuple(part.status for part in parts)

    # -- one frame at a time, in the caller's thread --

    def boxes(
        self, image: Image.Image, find: Sequence[str] = (), phrases: Sequence[str] = ()
    ) -> Found:
        """Return the boxes of `image` that are sure enough to be shown.

        `find` are things that a person asks for by name: only those are returned, and names that
        the detector does not know are listed. `phrases` are for a detector without names of its
        own. Raise PartOffError, PartFailedError or NotReadyError.
        """
        from vlm.detect.detector import shown
        from vlm.finder.names import thing_in, vocabulary

        detector = self.detector.get()
        if not detector.classes:
            wanted = [*filter(None, map(thing_in, find)), *phrases]
            boxes = self._detect(image, wanted)
            return Found(tuple(shown(boxes, detector.name)), detector.name)
        if not find:
            return Found(tuple(shown(self._detect(image), detector.name)), detector.name)
        asked = {name: vocabulary().boxes_for(name) & {*detector.classes} for name in find}
        unknown = tuple(name for name, known in asked.items() if not known)
        names = frozenset().union(*asked.values())
        boxes = self._detect(image) if names else []
        kept = tuple(box for box in boxes if box.name in names and box.score >= _ASKED_SCORE)
        return Found(kept, detector.name, unknown)

    def things(self, image: Image.Image) -> Things:
        """Return the things that detector and classifier see in `image`, and the place.

        Raise PartOffError, PartFailedError or NotReadyError.
        """
        from vlm.classify.hedging import find_place, hedged_labels
        from vlm.detect.detector import shown
        from vlm.finder.names import vocabulary

        look = self.look(image)
        things: dict[str, Thing] = {}
        for box in shown(look.boxes, self._settings.detector):
            name = vocabulary().noun_of(box.name)
            if name not in things or things[name].probability < box.score:
                things[name] = Thing(name, box.score, "detector")
        for label in hedged_labels(look.words, look.probabilities):
            if label.kind == "place":
                continue
            boxed = things.get(label.name)
            probability = max(label.probability, boxed.probability if boxed else 0.0)
            things[label.name] = Thing(label.name, probability, "both" if boxed else "classifier")
        place = find_place(look.words, look.probabilities, look.scores)
        found = sorted(things.values(), key=lambda thing: -thing.probability)
        return Things(tuple(found), place.name if place else None)

    def text(
        self,
        image: Image.Image,
        is_mirrored: bool = False,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> list[TextLine]:
        """Return the lines of text in `image`; raise PartFailedError or NotReadyError.

        `is_mirrored` says that the camera mirrors its pictures, which only a person knows. Reading
        ends, without lines, once `is_cancelled` returns true.
        """
        from vlm.reading.reader import read_mirrored

        if is_mirrored:
            return self.reader.call(lambda reader: read_mirrored(reader, image, is_cancelled))
        return self.reader.call(lambda reader: reader.read(image, is_cancelled))

    def look(self, image: Image.Image) -> Look:
        """Return what detector and classifier see in `image`.

        Raise PartOffError, PartFailedError or NotReadyError.
        """
        from vlm.finder.checks import Look

        try:
            probabilities = self._classifying.submit(
                self.classifier.call, lambda classifier: classifier.probabilities(image)
            )
        except RuntimeError:
            raise PartOffError("The finder has ended.") from None
        return Look(self._detect(image), probabilities.result())

    def _detect(self, image: Image.Image, phrases: Sequence[str] = ()) -> list[Box]:
        detector = self.detector.get()
        if not detector.classes and not phrases:
            # A detector that needs phrases gets the names of the bundled one.
            from vlm.classify.words import load_words

            phrases = tuple(load_words().boxes)
        return self.detector.call(lambda detector: detector.detect(image, phrases))

    # -- in the finder's own threads --

    def look_later(self, image: Image.Image) -> Future[Look] | None:
        """Begin a look at `image`; return None if too many wait already."""
        if not self.can_look or not self._places.acquire(blocking=False):
            return None
        try:
            future = self.looking.submit(self.look, image)
        except RuntimeError:
            # The finder was closed.
            self._places.release()
            return None
        future.add_done_callback(lambda _: self._places.release())
        return future

    def read_later(
        self, image: Image.Image, is_cancelled: Callable[[], bool]
    ) -> Future[list[TextLine]] | None:
        """Begin to read `image` until `is_cancelled`; return None if there is no reader."""
        if not self.reader.is_usable:
            return None
        try:
            return self.reading.submit(self.text, image, False, is_cancelled)
        except RuntimeError:
            # The finder was closed.
            return None

    def _load(self) -> None:
        for part in (self.detector, self.classifier):
            try:
                part.get()
            except SightlineError:
                # The part has told it.
                return


def _classes(detector: str) -> tuple[str, ...]:
    """Return the names of the boxes of `detector`, without loading it."""
    from vlm.checkpoints.detectors import BUNDLED_DETECTOR
    from vlm.detect.coco import DISPLAY_THRESHOLDS

    return tuple(DISPLAY_THRESHOLDS) if detector == BUNDLED_DETECTOR else ()


def _load_detector(settings: Settings) -> Detector:
    # Imported here, as below: each brings a runtime.
    from vlm.detect.detector import load_detector

    return load_detector(settings.detector, device=settings.device, offline=settings.offline)


def _load_classifier() -> Classifier:
    from vlm.classify.classifier import load_classifier

    return load_classifier()


def _load_pair(settings: Settings) -> Pair:
    from vlm.pairs.load import load_pair

    return load_pair(settings.pair, offline=settings.offline)


def _load_reader() -> Reader:
    from vlm.reading.reader import load_reader

    return load_reader()
