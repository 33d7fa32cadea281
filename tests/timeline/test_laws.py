"""Laws of the timeline: spans and gaps, queries, deletion, retention, and faults of its file."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from vlm.errors import TimelineError, UnknownMomentError
from vlm.timeline.choices import UNDO_S, Clock
from vlm.timeline.database import MIGRATIONS, open_writer, reader, transaction
from vlm.timeline.days import gaps_between
from vlm.timeline.query import Query
from vlm.timeline.search import search
from vlm.timeline.spans import MOST_PAUSE_S, Look
from vlm.timeline.store import DAY_S
from vlm.timeline.timeline import Timeline

NOON_S = 1_764_504_000.0
TEXTS = ("A red star.", "A blue circle and a red star.", "Three green squares.", "Nothing.")
LETTERS = "ab é\"'-*():^{}~\\/#%_ANDORNOT \0\ud800\u0301\u4e2d\U0001f600\u202e.,+@&|<>=!?\n\t"


class Times:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.s = NOON_S

    def clock(self) -> Clock:
        return Clock(lambda: self.s, lambda: self.s)


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept.sqlite3"


@contextmanager
def kept(file: Path, times: Times, keep: str = "words", **chosen: str) -> Iterator[Timeline]:
    timeline = Timeline(file, chosen={"keep": keep, **chosen}, clock=times.clock())
    try:
        yield timeline
    finally:
        timeline.close()


def look(at_s: float, text: str = TEXTS[0], camera: str = "door") -> Look:
    return Look(at_s, text, camera=camera, source=f"the {camera}", model="nano", question="What?")


def found(timeline: Timeline, text: str = "", **query: object) -> list[str]:
    timeline.settle()
    with timeline.reading() as connection:
        assert connection is not None
        page = search(connection, Query(text, **query))  # type: ignore[arg-type]
    return [each.text for each in page.moments]


def fault_code(timeline: Timeline) -> str | None:
    fault = timeline.status().fault
    return None if fault is None else fault.code


def test_spans_hold_all_looks_and_no_gap(file: Path, times: Times) -> None:
    rng = random.Random(20)
    looks: list[Look] = []
    stops: list[tuple[str, float]] = []
    with kept(file, times) as timeline:
        for _ in range(600):
            # Mostly small steps, some long ones, and a clock that jumps back.
            times.s += rng.choice((0.5, 2, 9, 14.9, 15.1, 40, 3600, -0.2, -90))
            camera = rng.choice(("door", "yard"))
            if rng.random() < 0.1:
                timeline.add_gap(camera, rng.choice(("stopped", "hidden", "camera")))
                stops.append((camera, times.s))
            else:
                looks.append(look(times.s, rng.choice(TEXTS[:2]), camera))
                timeline.add(looks[-1])
            timeline.settle()
    with reader(file) as connection:
        rows = connection.execute("SELECT id, from_s, to_s, camera, text FROM moments").fetchall()
        gaps = connection.execute("SELECT from_s, to_s, camera FROM gaps").fetchall()
    assert all(from_s <= to_s for _, from_s, to_s, *_ in rows)
    for each in looks:
        assert any(
            from_s <= each.at_s <= to_s and (camera, text) == (each.camera, each.text)
            for _, from_s, to_s, camera, text in rows
        )
    # In the order in which they came, however the clock jumps.
    firsts = [(row[1], row[3], row[4]) for row in rows]
    came = iter((each.at_s, each.camera, each.text) for each in looks)
    assert all(each in came for each in firsts)
    for _, from_s, to_s, camera, _ in rows:
        in_span = sorted(
            each.at_s for each in looks if each.camera == camera and from_s <= each.at_s <= to_s
        )
        pauses = [after - before for before, after in pairwise(in_span)]
        assert max(pauses, default=0) <= MOST_PAUSE_S
    assert {camera for *_, camera in gaps} == {"door", "yard"}
    assert all(to_s is None or from_s <= to_s for from_s, to_s, _ in gaps)


def test_a_caption_prolongs_only_its_like(file: Path, times: Times) -> None:
    first = look(NOON_S)
    others = {
        "text": Look(NOON_S + 1, "Other.", camera="door", source="the door", model="nano",
                     question="What?"),
        "question": Look(NOON_S + 1, TEXTS[0], camera="door", source="the door", model="nano"),
        "model": Look(NOON_S + 1, TEXTS[0], camera="door", source="the door", question="What?"),
        "source": Look(NOON_S + 1, TEXTS[0], camera="door", model="nano", question="What?"),
        "camera": look(NOON_S + 1, camera="yard"),
        "late": look(NOON_S + MOST_PAUSE_S + 0.1),
    }  # fmt: skip
    for name, other in [("same", look(NOON_S + MOST_PAUSE_S)), *others.items()]:
        with kept(file.with_name(name), times) as timeline:
            timeline.add(first)
            timeline.add(other)
            assert len(found(timeline)) == (1 if name == "same" else 2), name
            with timeline.reading() as connection:
                assert connection is not None
                gaps = gaps_between(connection, None, None)
            whys = [(each.from_s, each.to_s, each.why) for each in gaps]
            assert whys == ([(NOON_S, other.at_s, "stopped")] if name == "late" else [])


def test_a_span_does_not_cover_the_time_without_a_server(file: Path, times: Times) -> None:
    with kept(file, times) as timeline:
        timeline.add(look(NOON_S))
    times.s += 60
    with kept(file, times) as timeline:
        # After a reload the page's camera has another name.
        timeline.add(Look(times.s, TEXTS[0], camera="tab-2", source="the door", model="nano"))
        assert len(found(timeline)) == 2
        with timeline.reading() as connection:
            assert connection is not None
            (gap,) = gaps_between(connection, None, None)
    assert (gap.from_s, gap.to_s, gap.why) == (NOON_S, times.s, "server")


def test_words_phrases_parts_and_filters_find_moments(file: Path, times: Times) -> None:
    with kept(file, times) as timeline:
        for at, text in enumerate(("A red star.", "A star, red.", "Two cafés.", "A blue star.")):
            timeline.add(look(NOON_S + at, text, "yard" if at == 3 else "door"))
        timeline.add(Look(NOON_S + 9, "Yes.", "answer", "door", question="Is it raining?"))
        cases = {
            "stars": {"A red star.", "A star, red.", "A blue star."},
            '"red star"': {"A red star."},
            "red star": {"A red star.", "A star, red."},
            "star -red": {"A blue star."},
            '-red -"blue star"': {"Two cafés.", "Yes."},
            "CAFE": {"Two cafés."},
            "afé": {"Two cafés."},
            "sta": {"A red star.", "A star, red.", "A blue star."},
            "st": {"A red star.", "A star, red.", "A blue star."},
            "rain": {"Yes."},
            "what": set(),
            "-": set(),
            "red AND star": set(),
            "!?": set(),
        }
        for text, expected in cases.items():
            assert set(found(timeline, text)) == expected, text
        assert found(timeline, "star", camera="the yard") == ["A blue star."]
        assert found(timeline, kind="answer") == ["Yes."]
        assert found(timeline, "red", from_s=NOON_S + 0.5) == ["A star, red."]
        assert found(timeline, to_s=NOON_S + 0.5) == ["A red star."]


def test_every_text_is_a_legal_query(file: Path, times: Times) -> None:
    rng = random.Random(20)
    with kept(file, times) as timeline:
        for at, text in enumerate(TEXTS):
            timeline.add(look(NOON_S + at, text))
        timeline.settle()
        with timeline.reading() as connection:
            assert connection is not None
            for _ in range(10_000):
                text = "".join(rng.choices(LETTERS, k=rng.randrange(1, 20)))
                search(connection, Query(text, before=rng.choice(("", "rank_1", "5.5_2", text))))


def test_a_deletion_can_be_undone_and_then_leaves_no_byte(file: Path, times: Times) -> None:
    with kept(file, times) as timeline:
        for at in range(300):
            timeline.add(look(NOON_S + at, f"A zyzzyva {at}." if at % 3 else "A red star."))
        assert len(found(timeline, "zyzzyva", limit=200)) == 200
        first = timeline.delete(NOON_S + 100, NOON_S + 149.5)
        second = timeline.delete()
        assert (first.moments, first.undo_s, second.moments) == (50, UNDO_S, 250)
        assert found(timeline) == []
        times.s += UNDO_S - 0.1
        assert timeline.undo() == 250
        assert len(found(timeline, limit=200)) == 200
        assert b"zyzzyva" in file.read_bytes() + file.with_name(file.name + "-wal").read_bytes()
        times.s += 0.2
        timeline.settle()
        with pytest.raises(UnknownMomentError):
            timeline.undo(first.deletion)
        timeline.delete()
        times.s += UNDO_S + 0.1
        assert found(timeline) == []
        for each in file.parent.iterdir():
            assert b"zyzzyva" not in each.read_bytes(), each.name
        # What comes afterwards begins anew.
        timeline.add(look(NOON_S + 301))
        assert found(timeline, "star") == ["A red star."]


def test_a_server_that_ends_before_a_deletion_is_due_finishes_it(file: Path, times: Times) -> None:
    with kept(file, times) as timeline:
        timeline.add(look(NOON_S, "A zyzzyva."))
        timeline.settle()
        timeline.delete()
    assert b"zyzzyva" not in file.read_bytes()


@pytest.mark.parametrize("chosen", [{"days": "7"}, {"days": "0", "mb": "10"}])
def test_what_is_too_old_or_too_much_goes_except_what_is_kept(
    file: Path, times: Times, chosen: dict[str, str]
) -> None:
    text = "A red star. " + "and a blue circle " * (1 if "mb" not in chosen else 2500)
    count = 200
    with kept(file, times, **chosen) as timeline:
        for at in range(count):
            timeline.add(look(NOON_S + at * 3600, f"{at} {text}"))
            timeline.settle()
        timeline.keep_moment(1, True)
        times.s += (count - 1) * 3600 + 61
        for _ in range(10):
            timeline.settle()
        left = found(timeline, limit=200)
        status = timeline.status()
    assert left[-1].startswith("0 ") and left[0].startswith(f"{count - 1} ")
    if "mb" in chosen:
        assert 1 < len(left) < count and status.bytes <= 10_000_000
    else:
        assert len(left) == 1 + 7 * DAY_S / 3600


def test_a_full_disk_is_told_and_forgotten(file: Path, times: Times) -> None:
    with kept(file, times) as timeline:
        timeline.add(look(NOON_S))
        timeline.settle()
        pages = timeline.write(lambda each: each.execute("PRAGMA page_count").fetchone()[0])
        timeline.write(lambda each: each.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        times.s += 5
        for at in range(1, 40):
            timeline.add(look(NOON_S + at, f"{at} " + "many words " * 500))
        timeline.settle()
        fault = timeline.status().fault
        assert fault is not None
        assert (fault.code, fault.since) == ("disk_full", NOON_S + 5)
        timeline.write(lambda each: each.execute("PRAGMA max_page_count = 100000").fetchone())
        timeline.add(look(NOON_S + 50, "Room again."))
        assert found(timeline)[0] == "Room again."
        assert fault_code(timeline) is None


def test_a_file_that_cannot_be_used_is_left_as_it_is(file: Path, times: Times) -> None:
    open_writer(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer = file.read_bytes()
    broken = newer[:2000] + bytes(2000)
    for content, code in ((newer, "newer"), (b"no database" * 20, "damaged"), (broken, "newer")):
        file.write_bytes(content)
        with kept(file, times) as timeline:
            timeline.add(look(NOON_S))
            assert fault_code(timeline) == code
            with pytest.raises(TimelineError, match="timeline's file"):
                timeline.choose(days=1)
            with pytest.raises(TimelineError), timeline.reading():
                pass
        assert file.read_bytes() == content


def test_a_second_server_is_told_and_takes_over_when_the_first_has_ended(
    file: Path, times: Times
) -> None:
    with kept(file, times) as first, kept(file, times) as second:
        second.add(look(NOON_S))
        assert (fault_code(first), fault_code(second)) == (None, "in_use")
        first.add(look(NOON_S))
        assert found(first) == [TEXTS[0]]
        first.close()
        times.s += 6
        second.add(look(NOON_S + 6))
        assert found(second) == [TEXTS[0], TEXTS[0]] and fault_code(second) is None


def test_a_transaction_that_fails_writes_nothing(file: Path) -> None:
    with closing(open_writer(file)) as connection:
        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.execute("INSERT INTO settings VALUES ('a', 'b')")
            connection.execute("INSERT INTO pictures VALUES (7, x'00')")
        assert connection.execute("SELECT count(*) FROM settings").fetchone() == (0,)
