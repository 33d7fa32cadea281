"""A clip through gate and engine as the page would send it: one frame in flight, the newest next.

The clock is virtual: frames come at the clip's rate, each caption moves the clock on by what it
took, and nothing sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tools.bench.as_page import HEARTBEAT_S, INTERVAL_S, LOOK_GAP_S, fitted, to_jpeg
from tools.bench.clip import Clip
from tools.bench.gate import has_changed, thumbnail_of
from tools.bench.spread import percentile
from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.types import EngineInfo, Request, Result, StreamEvent


class LiveEngine(Protocol):
    """What is needed of `vlm.engine.engine.Engine`."""

    info: EngineInfo

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """See `Engine.stream`."""


@dataclass(frozen=True)
class LiveCaption:
    """One caption of a clip; `first_word_s` and `caption_s` run from `taken_at_s`, its frame's."""

    taken_at_s: float
    first_word_s: float
    caption_s: float
    done: Result


@dataclass
class LiveRun:
    """What came of a clip of `clip_s`; `skipped` looks found the scene as it was last captioned."""

    clip_s: float
    frames: int
    looks: int = 0
    skipped: int = 0
    captions: list[LiveCaption] = field(default_factory=list)

    def figures(self) -> dict[str, float | None]:
        """All figures by their keys; None for those that no caption gave."""
        ended = [each.taken_at_s + each.caption_s for each in self.captions]
        watched_s = max([self.clip_s, *ended])
        first_words = [each.first_word_s for each in self.captions]
        drafted = sum(each.done.stats.drafted for each in self.captions)
        accepted = sum(each.done.stats.accepted for each in self.captions)
        return {
            "clip_s": self.clip_s,
            "frames": self.frames,
            "looks": self.looks,
            "skipped": self.skipped,
            "captions": len(self.captions),
            "captions_per_min": 60 * len(self.captions) / watched_s,
            "first_word_p50_s": percentile(first_words, 0.5),
            "first_word_p95_s": percentile(first_words, 0.95),
            "drafted": drafted,
            "accepted": accepted,
            "accepted_share": accepted / drafted if drafted else None,
        }


def watch(
    engine: LiveEngine,
    clip: Clip,
    fps: float,
    prompt: str,
    max_tokens: int,
    on_caption: Callable[[LiveCaption], None],
    clock: Callable[[], float] = time.perf_counter,
) -> LiveRun:
    """Look at `clip` from its first frame to its last; `clock` measures the work in seconds."""
    run = LiveRun(clip_s=len(clip) / fps, frames=len(clip))
    reference = None
    look_at_s, sent_at_s = 0.0, -HEARTBEAT_S
    while look_at_s < run.clip_s:
        taken_at_s = look_at_s
        run.looks += 1
        index = min(len(clip) - 1, int(taken_at_s * fps))
        frame = fitted(clip.picture(index), engine.info.frame_size_px)
        thumbnail = thumbnail_of(frame)
        is_due = taken_at_s - sent_at_s >= HEARTBEAT_S
        if not is_due and reference is not None and not has_changed(reference, thumbnail):
            run.skipped += 1
            look_at_s = taken_at_s + max(LOOK_GAP_S, INTERVAL_S)
            continue
        sent_at_s = taken_at_s
        caption = _caption(engine, to_jpeg(frame), prompt, max_tokens, taken_at_s, clock)
        run.captions.append(caption)
        on_caption(caption)
        reference = thumbnail
        look_at_s = taken_at_s + max(INTERVAL_S, caption.caption_s)
    return run


def _caption(
    engine: LiveEngine,
    jpeg: bytes,
    prompt: str,
    max_tokens: int,
    taken_at_s: float,
    clock: Callable[[], float],
) -> LiveCaption:
    started = clock()
    first_word_s = None
    for item in engine.stream(Request.about(decode_image(jpeg), prompt, max_tokens)):
        now_s = clock() - started
        if first_word_s is None:
            first_word_s = now_s
        if isinstance(item, Result):
            return LiveCaption(taken_at_s, first_word_s, now_s, item)
    raise SightlineError("The engine ended a caption without a result.")
