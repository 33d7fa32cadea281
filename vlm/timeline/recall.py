"""Questions that captions alone do not answer: the moments to show a model, and its sources."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from PIL import Image

from vlm.timeline.meaning import Vectors, fuse
from vlm.timeline.plans import Plan, plan_of
from vlm.timeline.query import Query, filters_of
from vlm.timeline.records import Sentence, time_of
from vlm.timeline.search import Moment, moments_of, search
from vlm.types import Message

MOST_RECALLED: Final = 5
MOST_PICTURES: Final = 3
# So many are put in order by the model's own yes.
MOST_RANKED: Final = 8
NOTHING: Final = "Nothing that was kept answers this. Questions are read in English."
NOTHING_YET: Final = "Nothing is kept yet."

_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|[.!?]*$|\n)\s*")


def relevant(
    connection: sqlite3.Connection, plan: Plan, query: Query, vectors: Vectors
) -> tuple[Moment, ...]:
    """Return at most MOST_RANKED captions and answers for a question, the best first.

    One of its words, or a picture near all of them, makes a moment relevant. Without words the
    moments are spread over the time. Of `query` camera and times count.
    """
    if plan.words:
        asked = replace(query, text=plan.phrase, any_word=True, limit=MOST_RANKED)
        return search(connection, asked, vectors).moments
    where, values = filters_of(query)
    (count,) = connection.execute(f"SELECT count(*) FROM moments m WHERE {where}", values)
    rows = connection.execute(
        f"SELECT id FROM (SELECT m.id, row_number() OVER (ORDER BY m.from_s, m.id) - 1 AS at "
        f"FROM moments m WHERE {where}) WHERE at % ? = 0 ORDER BY at LIMIT ?",
        [*values, max(1, -(-count[0] // MOST_RECALLED)), MOST_RECALLED],
    ).fetchall()
    found = moments_of(connection, [row[0] for row in rows])
    return tuple(found[row[0]] for row in rows if row[0] in found)


def reranked(moments: Sequence[Moment], probabilities: Mapping[int, float]) -> tuple[Moment, ...]:
    """Return the best moments by two rankings: the search's, and how likely a model says yes.

    `probabilities`: 0 to 1 by moment; of those without a picture nothing is known.
    """
    known = [each for each in moments if each.id in probabilities]
    by_yes = sorted(known, key=lambda each: -probabilities[each.id])
    scores = fuse([[each.id for each in moments], [each.id for each in by_yes]])
    # A picture that does not show it is no witness, whatever its caption says.
    there = [each for each in moments if probabilities.get(each.id, 1.0) >= 0.5]
    return tuple(sorted(there or moments, key=lambda each: -scores[each.id]))[:MOST_RECALLED]


def chat_of(
    question: str,
    moments: Sequence[Moment],
    pictures: Mapping[int, Image.Image],
    now_s: float,
) -> tuple[Message, ...]:
    """Return the prompt of `question` over `moments`, in order of time.

    `pictures`: at most MOST_PICTURES, by moment.
    """
    parts: list[str | Image.Image] = ["These are notes of what a camera saw.\n"]
    for moment in sorted(moments, key=lambda each: (each.from_s, each.id)):
        parts.append(f"{_note(moment, now_s)}\n")
        if moment.id in pictures:
            parts.append(pictures[moment.id])
    parts.append(f"Answer from these notes, in a sentence or two: {question}")
    return (Message("user", tuple(parts)),)


def quoted(moments: Sequence[Moment], now_s: float) -> tuple[Sentence, ...]:
    """Return what was kept, word for word, for a model that cannot answer from several moments."""
    alike: dict[tuple[str, str, str], list[Moment]] = {}
    for each in sorted(moments, key=lambda each: (each.from_s, each.id)):
        alike.setdefault((each.source, each.question, each.text), []).append(each)
    # What was said more than once is quoted once, from the last time.
    return tuple(
        Sentence(_note(same[-1], now_s), tuple(each.id for each in same)) for same in alike.values()
    )


def sourced(text: str, moments: Sequence[Moment]) -> tuple[Sentence, ...]:
    """Return the sentences of an answer, each with its moments: those that share its words.

    All, if none does.
    """
    words = {each.id: _words_of(f"{each.question} {each.text}") for each in moments}
    sentences = []
    for match in _SENTENCE.finditer(text):
        sentence = match[0].strip()
        if sentence:
            shared = {each: len(of & _words_of(sentence)) for each, of in words.items()}
            most = max(shared.values(), default=0)
            linked = tuple(each for each, count in shared.items() if count == most)
            sentences.append(Sentence(sentence, linked))
    return tuple(sentences)


def _note(moment: Moment, now_s: float) -> str:
    when = time_of(moment.from_s, now_s)
    when = when[0].upper() + when[1:]
    where = f" ({moment.source})" if moment.source else ""
    asked = f"{moment.question} " if moment.kind == "answer" else ""
    return f"{when}{where}: {asked}{moment.text}"


def _words_of(text: str) -> frozenset[str]:
    return frozenset(plan_of(text, 0.0).words)
