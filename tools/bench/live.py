"""A clip through change gate and engine as the page sends it: one frame in flight, newest next.

The clock is virtual: frames come at the clip's rate, each caption advances the clock by the time
that it took, and nothing sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tools.bench.frames import Clip, fitted, to_jpeg
from tools.bench.measurements import StreamingEngine, TimedCaption, percentile, time_caption
from vlm.images.change import Pace, thumbnail_of
from vlm.images.decode import decode_image
from vlm.types import Request


@dataclass(frozen=True)
class LiveCaption:
    """One caption of a clip."""

    # When its frame was captured, in seconds of the clip.
    captured_at_s: float
    caption: TimedCaption

    @property
    def ended_at_s(self) -> float:
        return self.captured_at_s + self.caption.all_s


@dataclass
class LiveRun:
    """The result of watching one clip."""

    # Length of the clip.
    clip_s: float
    # Frames in it.
    frames: int
    # Frames that were compared with the last captioned one.
    looks: int = 0
    # Looks that found the scene unchanged.
    skipped: int = 0
    captions: list[LiveCaption] = field(default_factory=list)

    def figures(self) -> dict[str, float | None]:
        """Return all figures by their keys; None if there was no caption to compute one from."""
        watched_s = max([self.clip_s, *(each.ended_at_s for each in self.captions)])
        first_words = [each.caption.first_word_s for each in self.captions]
        drafted = sum(each.caption.stats.drafted for each in self.captions)
        accepted = sum(each.caption.stats.accepted for each in self.captions)
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
    engine: StreamingEngine,
    clip: Clip,
    fps: float,
    prompt: str,
    max_tokens: int,
    on_caption: Callable[[LiveCaption], None],
    clock: Callable[[], float] = time.perf_counter,
) -> LiveRun:
    """Watch `clip` from its first frame to its last; `clock` measures the engine in seconds."""
    run = LiveRun(clip_s=len(clip) / fps, frames=len(clip))
    pace = Pace()
    while pace.capture_at_s < run.clip_s:
        captured_at_s = pace.capture_at_s
        run.looks += 1
        index = min(len(clip) - 1, int(captured_at_s * fps))
        frame = fitted(clip.picture(index), engine.info.frame_size_px)
        thumbnail = thumbnail_of(frame)
        if not pace.must_send(thumbnail, captured_at_s):
            run.skipped += 1
            pace.skip(captured_at_s)
            continue
        make_request = partial(_request, to_jpeg(frame), prompt, max_tokens)
        caption = LiveCaption(captured_at_s, time_caption(engine, make_request, clock))
        run.captions.append(caption)
        on_caption(caption)
        pace.send(thumbnail, captured_at_s, caption.ended_at_s)
    return run


def _request(jpeg: bytes, prompt: str, max_tokens: int) -> Request:
    return Request.about(decode_image(jpeg), prompt, max_tokens)
