"""Claims of a caption: the things that it names, with their colours, each as a yes/no question."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vlm.scoring.calibration import logit, sigmoid
from vlm.scoring.sure import Sure

MAX_CLAIMS: Final = 16
NOTHING_SURE: Final = "Nothing that I am sure of."

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»")
_MARK: Final = re.compile(r"[^\w\s]")
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*\s*")
_SEPARATOR: Final = re.compile(r",\s+and\s+|,\s+|\s+and\s+")
_OPENERS_WORDS: Final = (
    "a an another the one two three four five six several some his her its their"
)
_OPENERS: Final = frozenset(_OPENERS_WORDS.split())
_DENIALS_WORDS: Final = "no not without never"
_DENIALS: Final = frozenset(_DENIALS_WORDS.split())
_COLOURS_WORDS: Final = (
    "black white grey gray red orange yellow green blue purple pink brown beige golden silver "
    "violet turquoise"
)
_COLOURS: Final = frozenset(_COLOURS_WORDS.split())
# They end the name of a thing.
_FOLLOWERS_WORDS: Final = (
    "about above across after against along among and are around as at away before behind below "
    "beneath beside between but by can close down during for from had has have he holds hangs "
    "in inside into is it its lies looking looks near next of off on onto or out outside over "
    "sits so stands that their there they through to toward towards under up walks was wearing "
    "wears were when where which while who whose with within without"
)
_FOLLOWERS: Final = frozenset(_FOLLOWERS_WORDS.split())
_DIRECTIONS: Final = frozenset({"up", "down"})
# Words for a picture and its parts, of which nothing is to be seen.
_NO_THINGS_WORDS: Final = (
    "background bit bottom camera center centre close-up corner couple foreground front group "
    "image kind left light lot middle number pair part photo photograph picture piece right row "
    "scene set side text top view way word"
)
_NO_THINGS: Final = frozenset(_NO_THINGS_WORDS.split())
# Verbs in a form that ends as these nouns do.
_NOUNS_IN_ING_WORDS: Final = (
    "awning building ceiling clothing crossing drawing earring king lightning opening painting "
    "railing ring string swing thing wing"
)
_NOUNS_IN_ING: Final = frozenset(_NOUNS_IN_ING_WORDS.split())
_NOUNS_IN_ED_WORDS: Final = "bed red seed shed sled weed"
_NOUNS_IN_ED: Final = frozenset(_NOUNS_IN_ED_WORDS.split())


@dataclass(frozen=True)
class Phrase:
    """A thing that a caption names."""

    text: str
    """As it stands in the caption, with its article."""
    start: int
    end: int
    thing: str
    """From its colour on, or without its article: "red star"."""


def phrases_of(text: str) -> tuple[Phrase, ...]:
    """Return the things that `text` names, in order, at most MAX_CLAIMS.

    Left out are quoted words, which may be text in the picture, and what is said not to be there.
    """
    # Of the same length, so that places stay the same.
    text = _QUOTED.sub(lambda quoted: '"' * len(quoted[0]), text)
    tokens = [*_TOKEN.finditer(text)]
    found: list[Phrase] = []
    for index, token in enumerate(tokens):
        if token[0].lower() not in _OPENERS or len(found) == MAX_CLAIMS:
            continue
        denied = any(
            each[0].lower() in _DENIALS and not _MARK.search(text, each.end(), token.start())
            for each in tokens[max(0, index - 3) : index]
        )
        words = _name(tokens, index + 1, text)
        names = [each[0].lower() for each in words]
        if denied or not words or names[-1] in _NO_THINGS or names[-1] in _COLOURS:
            continue
        colour = next((at for at, name in enumerate(names) if name in _COLOURS), 0)
        start, end = token.start(), words[-1].end()
        found.append(Phrase(text[start:end], start, end, " ".join(names[colour:])))
    return tuple(found)


def said_probabilities(phrases: Sequence[Phrase], sure: Sure | None) -> list[float]:
    """Return the probability of the words of each thing, as the caption was made; 1 if unknown.

    An article says more of the order of things than of the thing.
    """
    words = () if sure is None else sure.words
    return [
        math.prod(
            word.probability
            for word in words
            if each.end - len(each.thing) <= word.start < each.end
        )
        for each in phrases
    ]


def support(asked: float, said: float) -> float:
    """Return the probability of a thing by the answer to its question, and by its words.

    As if the two were independent: their odds are multiplied.
    """
    return sigmoid(logit(asked) + logit(said))


def without(text: str, left_out: Sequence[Phrase]) -> str:
    """Return `text` without the parts of its lists that name one of `left_out`.

    A sentence that would have nothing left goes as a whole; NOTHING_SURE if all do.
    """
    kept = []
    for sentence in _SENTENCE.finditer(text):
        parts = [*_parts(text, sentence.start(), sentence.end())]
        good = [
            text[start:end]
            for start, end in parts
            if not any(start <= each.start < end for each in left_out)
        ]
        if len(good) == len(parts):
            kept.append(sentence[0])
        elif good:
            joined = " and ".join(filter(None, (", ".join(good[:-1]), good[-1])))
            kept.append(joined[0].upper() + joined[1:] + _end_of(sentence[0]))
    return "".join(kept).strip() or NOTHING_SURE


def _is_side(tokens: Sequence[re.Match[str]], index: int) -> bool:
    """Return whether a token is the first of "left of" or "right of"."""
    words = [each[0].lower() for each in tokens[index : index + 2]]
    return words in (["left", "of"], ["right", "of"])


def _name(tokens: Sequence[re.Match[str]], first: int, text: str) -> list[re.Match[str]]:
    """Return the words of the name of a thing that begins at token `first`, the noun last."""
    words: list[re.Match[str]] = []
    for index in range(first, len(tokens)):
        token, word = tokens[index], tokens[index][0].lower()
        is_apart = text[tokens[index - 1].end() : token.start()] != " "
        # "a black down arrow" goes on behind its colour, "a man up a tree" does not.
        is_name = word in _DIRECTIONS and words and words[-1][0].lower() in _COLOURS
        is_follower = word in _FOLLOWERS and not is_name
        if is_apart or is_follower or word in _OPENERS or _is_side(tokens, index):
            break
        if _is_verb(word) and words and _is_last(tokens, index, text):
            break
        words.append(token)
    # "A man dressed in black".
    while len(words) > 1 and words[-1][0].endswith("ed") and words[-1][0] not in _NOUNS_IN_ED:
        words.pop()
    return words


def _is_verb(word: str) -> bool:
    return word.endswith("ing") and word not in _NOUNS_IN_ING


def _is_last(tokens: Sequence[re.Match[str]], index: int, text: str) -> bool:
    """Return whether no other word of a name follows token `index`, which then is a verb."""
    if index + 1 == len(tokens):
        return True
    following = tokens[index + 1]
    is_apart = text[tokens[index].end() : following.start()] != " "
    return is_apart or following[0].lower() in _FOLLOWERS | _OPENERS


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a sentence's list, without what separates them and the mark at its end."""
    end = start + len(text[start:end].rstrip().rstrip(".!?"))
    for separator in _SEPARATOR.finditer(text, start, end):
        before = text[start : separator.start()].split()
        # "A black and white cat" is one thing.
        if before and before[-1].lower() in _COLOURS:
            continue
        yield start, separator.start()
        start = separator.end()
    yield start, end


def _end_of(sentence: str) -> str:
    return sentence[len(sentence.rstrip().rstrip(".!?")) :]
