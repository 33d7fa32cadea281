"""Answer prompts about an unfamiliar frame from what the finder has found.

It names things and places, each with a "perhaps", and claims nothing else. This is the one table of
who gets what:

| prompt | answer |
| --- | --- |
| a description, or no question | the first line |
| a list of objects | the names |
| how many | that it does not count, then the first line |
| whether a thing is there | yes, perhaps; none that it sees; or that it cannot tell |
| where a thing is | the part of the picture, else as for whether |
| what the text says | the reader's lines (`reading.py`) |
| any other question | that it only names things, then the first line |
| an answer in JSON | the model's own object with place, names and text filled in |
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal, NamedTuple

from vlm.finder.checks import Look, verdict_of
from vlm.finder.names import Known, thing_in, vocabulary
from vlm.finder.sentence import NOTHING, FirstLine
from vlm.results import Box

Kind = Literal["describe", "list", "count", "is_there", "where", "read", "other"]

# From this score a box tells where a thing is.
_PLACED_SCORE: Final = 0.3
_PICTURE: Final = "(?:image|picture|photo|photograph|scene|frame|view|room)"
_POLITE: Final = re.compile(r"^(?:please |(?:can|could|would|will) you (?:please )?(?!see\b))")
_DESCRIBES: Final = re.compile(r"^(?:describe|caption|explain)\b")
_READ: Final = re.compile(r"\b(?:read|text|texts|written|writing)\b|\bdoes .+ say\b|\bwhich word")
_COUNT: Final = re.compile(r"\b(?:how many|count|number of)\b")
_LIST: Final = re.compile(
    r"^list\b|^(?:name|which|what|give|tell)\b.*\b(?:objects?|things?|items?)\b"
)
_IS_THERE: Final = re.compile(
    r"^(?:is|are) there (?P<there>.+)|^(?:do|can) you see (?P<seen>.+)"
    rf"|^does (?:this|the) {_PICTURE} (?:show|contain|have) (?P<shown>.+)"
    rf"|^(?:is|are) (?P<inside>.+) in (?:this|the) {_PICTURE}$"
)
_WHERE: Final = re.compile(
    r"^where(?:'s| is| are| do you see| can you see) (?P<where>.+)"
    rf"|^in which part of the {_PICTURE} (?:is|are) (?P<part>.+)"
)
_ENDING: Final = re.compile(rf" (?:here|there|anywhere|(?:in|of) (?:this|the) {_PICTURE})$")
# Questions that a description answers.
_DESCRIBE: Final = re.compile(
    rf"^what(?:'s| is| are| do| does| can| happens| happened)?\b"
    rf"(?:.*\b(?:see|this|that|it|here|happening|there|in view|{_PICTURE}))?$"
)
_QUESTION: Final = re.compile(
    r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|may|might|who|whose"
    r"|whom|what|which|when|where|why|how)\b"
)
_ARTICLE: Final = re.compile(r"^(?:an?|the) ")
_ROWS: Final = ("top", "middle", "bottom")
_COLUMNS: Final = ("left", "middle", "right")


class Asked(NamedTuple):
    """The kind of answer that a prompt asks for."""

    kind: Kind
    thing: Known | None = None
    """The thing that "is_there" and "where" are about."""


def asked_by(prompt: str) -> Asked:
    """Return what `prompt` asks for."""
    text = " ".join(prompt.lower().replace("\u2019", "'").split()).rstrip(" .?!")
    text = _POLITE.sub("", text)
    if _DESCRIBES.match(text):
        return Asked("describe")
    if _READ.search(text):
        return Asked("read")
    if _COUNT.search(text):
        return Asked("count")
    if _LIST.search(text):
        return Asked("list")
    for kind, pattern in (("is_there", _IS_THERE), ("where", _WHERE)):
        found = pattern.match(text)
        if found is not None:
            thing = next(filter(None, found.groupdict().values()))
            known = vocabulary().get(thing_in(_ENDING.sub("", thing)))
            return Asked("other") if known is None else Asked(kind, known)  # type: ignore[arg-type]
    is_question = _QUESTION.match(text) is not None and not _DESCRIBE.match(text)
    return Asked("other" if is_question else "describe")


def answer(asked: Asked, line: FirstLine, look: Look) -> str:
    """Return the answer to anything but "read"."""
    said = line.sentence
    if asked.kind == "list":
        return _sentence(", ".join(name.phrase for name in line.names)) if line.names else NOTHING
    if asked.kind == "count":
        return f"I do not count things. {said}"
    if asked.kind == "other":
        return f"I can only name things. {said}"
    if asked.thing is None:
        return said
    where = _where(asked.thing, look) if asked.kind == "where" else ""
    verdict = verdict_of(asked.thing, look)
    if verdict == "found":
        return _sentence(f"{_phrase(asked.thing, line)}{where}")
    refusal = "I see none" if verdict == "not_found" else "I cannot tell"
    return f"{refusal}. {said}"


def answer_in_json(model_text: str, line: FirstLine) -> str:
    """Return the model's JSON object with what the finder knows; a valid one in any case."""
    try:
        told = json.loads(model_text)
    except ValueError:
        # The token limit has cut it.
        told = {}
    found = {
        "scene": _ARTICLE.sub("", line.place) if line.place else "unfamiliar",
        "objects": [name.phrase for name in line.names],
        "text": "\n".join(line.texts) or None,
    }
    return json.dumps({**told, **found} if isinstance(told, dict) else found, ensure_ascii=False)


def _sentence(things: str) -> str:
    return f"Perhaps {things}."


def _phrase(thing: Known, line: FirstLine) -> str:
    """Return how the line names the thing, else its own name."""
    for name in line.names:
        if name.name == thing.name or vocabulary().is_broader(thing.name, name.name):
            return name.phrase
    return thing.phrase


def _where(thing: Known, look: Look) -> str:
    """Return the part of the picture where the best box of the thing is; empty without one."""
    boxes = [box for box in look.boxes if box.name in thing.boxes and box.score >= _PLACED_SCORE]
    if not boxes:
        return ""
    row, column = part_of(max(boxes, key=lambda box: box.score))
    if row == column:
        return " in the middle"
    if row == "middle":
        return f" on the {column}"
    return f" at the {row}" + ("" if column == "middle" else f" {column}")


def part_of(box: Box) -> tuple[str, str]:
    """Return the row and the column of the nine parts of the picture where the box's middle is."""
    across, down = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return _ROWS[min(2, int(3 * down))], _COLUMNS[min(2, int(3 * across))]
