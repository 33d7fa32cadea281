"""Continuations of one state as trees of few rows: what they begin with alike is fed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from vlm.runtimes.trees import Asked, Tree

# The time of a pass grows faster than its rows: of SmolVLM-256M's shape in int8 on two cores, 76
# rows took 193 ms, 152 rows 458 ms and 600 rows 2,762 ms.
MAX_ROWS: Final = 80


@dataclass(frozen=True)
class Branch:
    """Token ids that may follow a state."""

    token_ids: tuple[int, ...]
    """At least two."""
    scored: int
    """Number of tokens at the end that are scored, given those before them; fewer than all."""


@dataclass
class Pack:
    """Branches that one pass scores."""

    branches: list[int] = field(default_factory=list)
    """Their indices."""
    token_ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """Of the branches, one after the other."""
    counts: list[int] = field(default_factory=list)
    """Of each branch, its number of `asked`."""

    @property
    def tree(self) -> Tree:
        return Tree(self.token_ids, self.parents)

    def sums(self, logprobs: Sequence[float]) -> Iterator[tuple[int, float]]:
        """Yield the index of each branch, and the sum of its `logprobs`, which are of `asked`."""
        start = 0
        for branch, count in zip(self.branches, self.counts, strict=True):
            yield branch, sum(logprobs[start : start + count])
            start += count


def common_start(branches: Sequence[Branch]) -> tuple[int, ...]:
    """Return the tokens that all branches begin with, and that none of them scores."""
    shortest = min(len(each.token_ids) - each.scored for each in branches)
    columns = zip(*(each.token_ids[:shortest] for each in branches), strict=True)
    alike = takewhile(lambda column: len(set(column)) == 1, columns)
    return tuple(column[0] for column in alike)


def packs_of(branches: Sequence[Branch], max_rows: int = MAX_ROWS) -> list[Pack]:
    """Return packs of at most `max_rows` rows, or of one branch that is longer, each branch once.

    Rows are the distinct beginnings of the branches, without their last tokens. In the order of
    their tokens, branches that begin alike come into one pack.
    """
    packs: list[Pack] = []
    rows: dict[tuple[int, ...], int] = {}
    for index in sorted(range(len(branches)), key=lambda each: branches[each].token_ids):
        branch = branches[index]
        starts = [branch.token_ids[:end] for end in range(1, len(branch.token_ids))]
        new = sum(start not in rows for start in starts)
        if not packs or (rows and len(rows) + new > max_rows):
            packs.append(Pack())
            rows = {}
        pack = packs[-1]
        for start in starts:
            if start not in rows:
                rows[start] = len(pack.token_ids)
                pack.token_ids.append(start[-1])
                pack.parents.append(rows.get(start[:-1], -1))
        pack.branches.append(index)
        pack.counts.append(branch.scored)
        scored = range(len(branch.token_ids) - branch.scored, len(branch.token_ids))
        pack.asked += [(rows[branch.token_ids[:end]], branch.token_ids[end]) for end in scored]
    return packs
