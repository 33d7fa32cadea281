"""A question about the timeline, read without a model: what is asked, of which thing and time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

PlanKind = Literal["when", "first", "last", "often", "long", "many", "recall"]

# Each with the begin of its questions.
_KINDS: Final[tuple[tuple[PlanKind, str], ...]] = (
    ("often", r"how (?:often|frequently|many times)\b"),
    ("long", r"(?:for )?how (?:long|much time)\b"),
    ("many", r"how many (?:different|kinds? of|sorts? of)\b"),
    ("last", r"(?:when|(?:at )?what time)\b.*\b(?:last|latest|most recent(?:ly)?)\b"),
    ("first", r"(?:when|(?:at )?what time)\b.*\b(?:first|earliest)\b"),
    ("when", r"(?:when|(?:at )?what time|(?:was|were) there|(?:did|have) you (?:ever )?see[n]?)\b"),
)
_COME_UP: Final = re.compile(r"\b(?:show|turn|come|came)(?:s|ed|n)? up\b")
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
# Words of questions that name nothing to look for.
_FRAME_WORDS: Final = (
    "about all and any anyone anybody anything appear appeared appearing are as at be been being "
    "between both by came camera caption captions come comes could day describe did different do "
    "does during each earliest else ever every everything find for frame frequently from go going "
    "gone had happen happened happening happens has have he her here him his how i image images "
    "in into is it its kind kinds last latest list long look looked looking looks lot many may me "
    "memory moment moments most much my occur occurred of often on one or our out over passed "
    "past picture pictures please recent recently said saw say says scene see seeing seen she "
    "should show showed showing shown since some someone somebody something sort sorts tell than "
    "that their them there these they thing things this those through time timeline times to "
    "until us video view visible was we went were what when where which while who whom whose "
    "why will with would you your object objects first"
)
_FRAME: Final = frozenset(_FRAME_WORDS.split())
# Before a place: "at the door" does not ask for a door.
_PLACE_WORDS: Final = (
    "at behind beside by from in inside into near on onto outside over to under with"
)
_PLACES: Final = frozenset(_PLACE_WORDS.split())
_ARTICLES: Final = frozenset({"a", "an", "the"})
_NUMBERS_WORDS: Final = "one two three four five six seven eight nine ten"
_NUMBERS: Final = {name: number for number, name in enumerate(_NUMBERS_WORDS.split(), 1)}
_UNITS: Final = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0}
_LATELY: Final = re.compile(
    r"\b(?:in|during|over|within|for) the (?:last|past) (?:(\d{1,4}|[a-z]+) )?"
    r"(minute|hour|day|week)s?\b"
)
# Begin and end in hours from the last midnight.
_PARTS_OF_DAYS: Final = (
    ("this morning", 0, 12),
    ("this afternoon", 12, 18),
    ("this evening", 18, 24),
    ("tonight", 18, 30),
    ("last night", -6, 6),
    ("yesterday morning", -24, -12),
    ("yesterday afternoon", -12, -6),
    ("yesterday evening", -6, 0),
    ("yesterday", -24, 0),
    ("today", 0, 24),
)


@dataclass(frozen=True)
class Plan:
    """A question: its kind, and the thing and the time that it is about."""

    kind: PlanKind
    """Anything but "recall" is answered by what captions name, without a model."""
    words: tuple[str, ...]
    """The words that name what is looked for, in lower case; empty if anything is."""
    from_s: float | None = None
    """The time that the question names, in seconds since 1970; None if it names none."""
    to_s: float | None = None

    @property
    def phrase(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


def plan_of(question: str, now_s: float) -> Plan:
    """Return what `question` asks at the time `now_s`; days are those of this machine's clock."""
    text = " ".join(question.lower().split())
    text, from_s, to_s = _without_time(text, now_s)
    kind: PlanKind = next((each for each, begin in _KINDS if re.match(begin, text)), "recall")
    tokens = _WORD.findall(_COME_UP.sub("", text))
    places = [at for at, each in enumerate(tokens) if each not in _FRAME | _ARTICLES]
    words = tuple(tokens[at] for at in places)
    between = tokens[places[0] : places[-1] + 1] if places else []
    # "a star above the circle" is more than the name of a thing.
    is_name = len([each for each in between if each not in _ARTICLES]) == len(words)
    before = [each for each in tokens[: places[0]] if each not in _ARTICLES] if places else []
    is_name &= before[-1:] == [] or before[-1] not in _PLACES
    if kind != "recall" and not is_name:
        kind = "recall"
    if not words and kind in ("when", "often", "long"):
        kind = "recall"
    return Plan(kind, words, from_s, to_s)


def _without_time(text: str, now_s: float) -> tuple[str, float | None, float | None]:
    """Return the question without the time that it names, and that time."""
    lately = _LATELY.search(text)
    if lately:
        count = lately[1] or "1"
        number = int(count) if count.isdecimal() else _NUMBERS.get(count)
        if number is not None:
            rest = text[: lately.start()] + text[lately.end() :]
            return rest, now_s - number * _UNITS[lately[2]], None
    now = datetime.fromtimestamp(now_s)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for name, begin, end in _PARTS_OF_DAYS:
        match = re.search(rf"\b(?:(?:on|since) )?{name}\b", text)
        if match:
            rest = text[: match.start()] + text[match.end() :]
            # Wall time, so that a day with another offset from UTC keeps its midnight.
            times = [(midnight + timedelta(hours=each)).timestamp() for each in (begin, end)]
            return rest, times[0], times[1]
    return text, None, None
