"""When a caption prolongs the last moment of its camera, and when there is a gap before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image

Kind = Literal["caption", "answer", "alert"]
GapReason = Literal["stopped", "hidden", "server", "camera", "model"]

# A still scene is looked at once in 10 s (HEARTBEAT_S of `vlm.images.change`), and a caption takes
# some seconds on a slow machine.
MOST_PAUSE_S: Final = 15.0


@dataclass(frozen=True)
class Look:
    """One caption or answer, as it was made."""

    at_s: float
    """When the frame was captured, in seconds since 1970."""
    text: str
    kind: Kind = "caption"
    camera: str = ""
    source: str = ""
    """What the camera is, in words of the page; empty if unknown."""
    model: str = ""
    question: str = ""
    sure: float | None = None
    tags: str = ""
    """Words with blanks between."""
    finish: str = "stop"
    image: Image.Image | None = None

    @property
    def same(self) -> tuple[str, ...]:
        """What two looks of one moment have in common."""
        return (self.text, self.question, self.model, self.source)


@dataclass
class Track:
    """What is known of one camera: its last moment, and the gap that it is in."""

    moment: int | None = None
    """The last moment, if a look can prolong it."""
    same: tuple[str, ...] = ()
    to_s: float | None = None
    """When its last look was; None before the first."""
    gap: int | None = None
    """The open gap."""
    gap_from_s: float = 0.0
    trouble: GapReason | None = None
    """Why captions have failed since the last one."""


@dataclass(frozen=True)
class Step:
    """What one look does to its camera's track."""

    prolongs: bool
    """The last moment goes on to this look; else a new one begins."""
    closes_gap: bool = False
    gap: tuple[float, float, GapReason] | None = None
    """A gap to insert before the new moment: from, to, reason."""


def step(track: Track, look: Look, started_s: float) -> Step:
    """Return what `look` does; `started_s` is when this server began to keep moments.

    A span never covers a stop, an outage or a hidden page. After a jump back of the clock a new
    moment begins, without a gap: how long the jump was is not known.
    """
    is_same = track.moment is not None and look.same == track.same
    if track.gap is not None:
        # A frame that was captured before the gap may be captioned after its begin.
        if look.at_s > track.gap_from_s:
            return Step(prolongs=False, closes_gap=True)
        is_late = track.to_s is not None and 0 <= look.at_s - track.to_s <= MOST_PAUSE_S
        return Step(prolongs=is_same and is_late)
    if track.to_s is None:
        return Step(prolongs=False)
    pause_s = look.at_s - track.to_s
    if 0 <= pause_s <= MOST_PAUSE_S:
        return Step(prolongs=is_same)
    if pause_s < 0:
        return Step(prolongs=False)
    why = track.trouble or ("server" if track.to_s < started_s else "stopped")
    return Step(prolongs=False, gap=(track.to_s, look.at_s, why))
