"""docs/install.md quotes messages as the program says them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A column of a table: X and Y are fields, "..." is left out.
GAP = re.compile(r"\b[XY]\b|\.\.\.")


def quoted_messages() -> list[str]:
    """Return the messages in the first column of each table of messages."""
    text = (ROOT / "docs" / "install.md").read_text("utf-8").partition("## Messages")[2]
    rows = [line[2:].split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    messages = [message for row in rows for message in re.split("; ", row)]
    return [message for message in messages if message not in ("message", "---")]


def texts_of(file: Path) -> Iterator[str]:
    """Yield the literals of a module, with a gap for each field, or the lines of another file."""
    source = file.read_text("utf-8")
    if file.suffix != ".py":
        yield from source.replace("\u2019", "'").splitlines()
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                each.value if isinstance(each, ast.Constant) else "..." for each in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_each_quoted_message_is_one_of_the_program() -> None:
    files = [ROOT / "Makefile", ROOT / "static" / "js" / "words" / "page.js"]
    files += [file for folder in ("vlm", "web") for file in (ROOT / folder).rglob("*.py")]
    texts = "\n".join(text.replace("\n", " ") for file in files for text in texts_of(file))
    texts = texts.replace("{card}", "the graphics card")
    messages = quoted_messages()
    assert len(messages) > 100
    unknown = []
    for message in messages:
        pieces = [re.escape(piece.strip()) for piece in GAP.split(message)]
        if not re.search(".*".join(pieces), texts, re.IGNORECASE):
            unknown.append(message)
    assert unknown == []
