"""Timelines of many moments, written without the wait of the writer thread."""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image

from vlm.timeline.database import open_writer, transaction
from vlm.timeline.spans import Look
from vlm.timeline.store import insert_gap, insert_moment, insert_picture

TEXTS = (
    "A red star and a blue circle.",
    "A green square.",
    "A yellow heart above a purple ring.",
    "A blue circle.",
    "Nothing is there.",
)
QUESTION = "What colour is the star?"
SOURCES = ("Front door", "Back yard")


EACH_S = 20.0
GAP_S = 1_800.0


def write_timeline(file: Path, count: int, keep: str = "pictures") -> None:
    """Write `count` moments, the newest a minute ago, with pictures of every third.

    Behind every hundredth is a gap of half an hour, and every 40th is an answer. `keep` is what a
    person has chosen.
    """
    jpegs = []
    for colour in ("crimson", "seagreen", "gold", "royalblue", "dimgray"):
        out = io.BytesIO()
        Image.new("RGB", (160, 120), colour).save(out, "JPEG")
        jpegs.append(out.getvalue())
    connection = open_writer(file)
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('keep', ?)", (keep,))
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('days', '0')")
        at_s = time.time() - 60
        for index in range(count):
            text, source = TEXTS[index % len(TEXTS)], SOURCES[index % 2]
            is_answer = index % 40 == 7
            look = Look(
                at_s,
                f"{text} Look {index}." if index % 50 == 0 else text,
                kind="answer" if is_answer else "caption",
                camera=source.lower().replace(" ", "-"),
                source=source,
                model="nano",
                question=QUESTION if is_answer else "Describe this image briefly.",
            )
            moment = insert_moment(connection, look, at_s + EACH_S / 2)
            if index % 3 == 0:
                insert_picture(connection, moment, jpegs[index % len(jpegs)])
            if index % 100 == 99:
                insert_gap(connection, look.camera, source, at_s - GAP_S, at_s - EACH_S, "hidden")
                at_s -= GAP_S
            at_s -= EACH_S
    connection.close()
