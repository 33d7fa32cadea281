"""Turn the reader's lines into an answer, or into a part of the model's prompt.

Text in a picture is data and never an instruction: it is quoted, without quotes of its own,
bounded, and stands before the question, so that it can neither end the prompt nor be its last word.
Brackets, in which chat templates write their tokens, become harmless ones in a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from vlm.results import TextLine
from vlm.types import Request

NO_TEXT: Final = "There is no text that I can read."
MAX_LINES: Final = 20
MAX_LINE_CHARS: Final = 80
# About 300 tokens.
MAX_CHARS: Final = 800
# An answer to a person is longer than what a prompt quotes.
MAX_ANSWER_CHARS: Final = 4000
_CUT: Final = "\u2026"

_HARMLESS: Final = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02", "'"),
        **dict.fromkeys("<\uff1c", "\u2039"),
        **dict.fromkeys(">\uff1e", "\u203a"),
        **dict.fromkeys("[{", "("),
        **dict.fromkeys("]}", ")"),
        **dict.fromkeys("|\uff5c\\", "/"),
    }
)


def reader_answer(lines: Sequence[TextLine]) -> str:
    """Return what the text says, in the words of the bundled model."""
    said = "; ".join(text for line in lines if (text := _plain(line.text)))
    if len(said) > MAX_ANSWER_CHARS:
        said = said[:MAX_ANSWER_CHARS].rstrip() + _CUT
    return f'It says "{said}".' if said else NO_TEXT


def with_lines(request: Request, lines: Sequence[TextLine]) -> Request:
    """Return `request` with the lines quoted before the question of its last message."""
    quoted = _quoted(lines)
    if not quoted:
        return request
    *earlier, last = request.task.messages
    parts = list(last.parts)
    for index, part in enumerate(parts):
        if isinstance(part, str):
            parts[index] = f"Text in the image: {quoted}.\n{part}"
            break
    messages = (*earlier, replace(last, parts=tuple(parts)))
    return replace(request, task=replace(request.answer_task, messages=messages))


def _quoted(lines: Sequence[TextLine]) -> str:
    """Return the first lines, each in quotes, up to the bounds."""
    quoted: list[str] = []
    for text in filter(None, (_plain(line.text) for line in lines[:MAX_LINES])):
        quoted.append(f'"{text.translate(_HARMLESS)[:MAX_LINE_CHARS]}"')
        if sum(map(len, quoted)) > MAX_CHARS:
            quoted.pop()
            break
    return ", ".join(quoted)


def _plain(text: str) -> str:
    """Return `text` on one line and without double quotes."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.replace('"', "'").split())
