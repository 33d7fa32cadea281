"""The session: spans and gaps that claim no more than was seen, kept, copied and saved."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import expect

from page_actions import press_start, start
from state_core import FAILED, LOADING, STATS, STATUS

BLINK_MS = 15_000
SECOND = 1_000
TEXTS = ("A red circle.", "A blue star.")

# Captions 5,200 scenes, two seconds apart.
CAPTION_MANY = """
  let state = arg;
  for (let n = 0; n < 5200; n += 1) {
    const times = { at: 2000 * n, clock: 2000 * n };
    state = M.reduce(state, { type: "capture-started", ...times });
    const { id } = state.request;
    state = M.reduce(state, { type: "caption-done", id, text: `${n}`, stats: {}, ...times });
  }
  const { entries, gone } = state.session;
  const text = M.keptText(state.session, true);
  const kept = M.sessionOf(text);
  return {
    count: entries.length, gone, first: entries[0].text, said: M.goneText(gone), text,
    isKept: kept.session.entries.every((one, n) =>
      Object.keys(entries[n]).every((key) => one[key] === entries[n][key])),
  };
"""


def entries_of(core) -> list[dict[str, Any]]:
    return core.run("return M.entriesOf(arg);", core.state["session"])


def spans(core) -> list[tuple[Any, ...]]:
    """Each moment's text or gap's reasons, with its time."""
    return [
        (one.get("text") or "+".join(one["whys"]), one["from"], one["to"])
        for one in entries_of(core)
    ]


# -- moments and gaps --


def test_equal_captions_in_a_row_are_one_moment(core):
    core.live()
    for at, text in ((0, "A"), (1000, "A"), (2000, "B"), (3000, "A"), (4000, " ")):
        core.captioned(at=at, text=text, took=0)
    core.dispatch("capture-started", 6000).dispatch("frame-unchanged", 6010)
    assert spans(core) == [("A", 0, 2000), ("B", 2000, 3000), ("A", 3000, 6000)]


def pause(type_: str, end: str | None = None, **fields: Any) -> Any:
    """An interruption from 2 s to 8 s, as two events."""
    return lambda core: core.dispatch(type_, 2000, **fields).dispatch(
        end or type_, 8000, **opposite(fields)
    )


def opposite(fields: dict[str, Any]) -> dict[str, Any]:
    back = {"visible": True, "muted": False, "stalled": False, "status": STATUS}
    return {name: back.get(name) for name in fields if name in back}


OTHER_MODEL = {**STATUS, "model": "smolvlm-256m"}
INTERRUPTIONS = {
    "stopped": lambda core: core.dispatch("stopped", 2000).live(8000),
    "frozen": pause("freeze-pressed"),
    "hidden": pause("visibility-changed", visible=False),
    "server": lambda core: core.dispatch("status-failed", 2000, message="down").dispatch(
        "status-received", 8000, status=STATUS
    ),
    "model": pause("status-received", status=LOADING),
    "camera": pause("camera-muted", muted=True),
    "camera+hidden": lambda core: (
        core.dispatch("camera-stalled", 2000, stalled=True)
        .dispatch("visibility-changed", 3000, visible=False)
        .dispatch("visibility-changed", 4000, visible=True)
        .dispatch("camera-stalled", 8000, stalled=False)
    ),
    # Both are over so soon that no look was missed.
    "model ": lambda core: core.dispatch("status-received", 2000, status=OTHER_MODEL),
    "camera ": lambda core: core.dispatch(
        "setting-changed", 2000, name="deviceId", value="back"
    ).dispatch("camera-opened", 2100, deviceId="back"),
}


@pytest.mark.parametrize("why", INTERRUPTIONS)
def test_interruption_ends_a_moment_with_a_gap_that_says_why(core, why):
    core.live().captioned(at=1000, took=0)
    INTERRUPTIONS[why](core)
    core.captioned(at=8500, took=0).captioned(at=9500, took=0)
    gap = (why.strip(), 1000, 8500)
    assert spans(core) == [(TEXTS[0], 1000, 1000), gap, (TEXTS[0], 8500, 9500)]
    kept = "return M.sessionOf(M.keptText(arg, true)).session.entries;"
    assert core.run(kept, core.state["session"]) == entries_of(core)


def test_caption_is_not_prolonged_over_more_than_15_seconds(core):
    core.live().captioned(at=0, took=0).captioned(at=BLINK_MS, took=0)
    core.captioned(at=2 * BLINK_MS + 1, took=0)
    core.dispatch("capture-started", 40_000).dispatch("frame-sent", 40_000)
    core.dispatch("request-failed", 41_000, kind="timeout", message="late")
    core.captioned(at=60_000, took=0)
    whys = [one["whys"] for one in entries_of(core) if one["kind"] == "gap"]
    assert whys == [["unseen"], ["server"]]


def test_gap_is_open_until_the_next_caption(core):
    gap = "const gap = M.openGapOf(arg); return gap && M.gapText(gap);"
    core.live()
    assert core.run(gap, core.state["session"]) is None
    core.captioned(at=0).dispatch("stopped", 1000)
    said = core.run(gap, core.state["session"])
    assert re.fullmatch(r"Stopped since \d\d:\d\d:\d\d", said)
    core.live(2000).captioned(at=3000)
    assert core.run(gap, core.state["session"]) is None


class Walk:
    """A random session, and the times at which nobody looked."""

    def __init__(self, core: Any, seed: int) -> None:
        self.core = core.begin().live()
        self.random = random.Random(seed)
        self.at = 0
        self.blind: list[tuple[int, int]] = []
        self.shown: list[int] = []
        """When frames were taken that got a caption or looked like the last one."""

    def run(self, steps: int) -> None:
        actions = (self.caption, self.caption, self.look, self.interrupt, self.interrupt_answer)
        for _ in range(steps):
            self.random.choice(actions)()

    def later(self, most: int = 4 * SECOND) -> int:
        self.at += self.random.randint(1, most)
        return self.at

    def take(self) -> None:
        self.core.dispatch("capture-started", self.later()).dispatch("frame-sent", self.at)

    def caption(self, text: str | None = None) -> None:
        self.take()
        self.shown.append(self.at)
        text = text or self.random.choice(TEXTS)
        self.core.dispatch("caption-done", self.later(), text=text, stats=STATS)

    def look(self) -> None:
        if self.shown:
            self.core.dispatch("capture-started", self.later())
            self.shown.append(self.at)
            self.core.dispatch("frame-unchanged", self.at)

    def interrupt(self) -> None:
        begin = self.later()
        stop, go_on = self.random.choice(
            [
                (("stopped", {}), None),
                (("visibility-changed", {"visible": False}), "visible"),
                (("freeze-pressed", {}), "frozen"),
                (("status-failed", {"message": "down"}), "server"),
                (("status-received", {"status": FAILED}), "server"),
                (("camera-muted", {"muted": True}), "muted"),
            ]
        )
        self.core.dispatch(stop[0], begin, **stop[1])
        end = self.later(30 * SECOND)
        if go_on is None:
            self.core.live(end)
        elif go_on == "visible":
            self.core.dispatch("visibility-changed", end, visible=True)
        elif go_on == "frozen":
            self.core.dispatch("freeze-pressed", end)
        elif go_on == "server":
            self.core.dispatch("status-received", end, status=STATUS)
        else:
            self.core.dispatch("camera-muted", end, muted=False)
        self.blind.append((begin, end))

    def interrupt_answer(self) -> None:
        """The page is hidden while an answer comes."""
        self.take()
        self.shown.append(self.at)
        begin = self.later()
        self.core.dispatch("visibility-changed", begin, visible=False)
        if self.random.random() < 0.5:
            text = self.random.choice(TEXTS)
            self.core.dispatch("caption-done", self.later(), text=text, stats=STATS)
            done = True
        else:
            done = False
        end = self.later()
        self.core.dispatch("visibility-changed", end, visible=True)
        self.blind.append((begin, end))
        if not done:
            self.core.dispatch("caption-done", self.later(), text=TEXTS[0], stats=STATS)


@pytest.mark.parametrize("seed", range(12))
def test_spans_and_gaps_cover_the_session_and_spans_no_interruption(core, seed):
    walk = Walk(core, seed)
    walk.run(60)
    entries = entries_of(core)
    moments = [one for one in entries if one["kind"] != "gap"]
    assert entries[0]["from"] == walk.shown[0]
    assert entries[-1]["to"] == walk.shown[-1]
    assert all(one["from"] <= one["to"] for one in entries)
    assert [one["to"] for one in entries[:-1]] == [one["from"] for one in entries[1:]]
    for moment in moments:
        looks = [at for at in walk.shown if moment["from"] <= at <= moment["to"]]
        assert all(b - a <= BLINK_MS for a, b in pairwise(looks))
        for begin, end in walk.blind:
            assert moment["to"] <= begin or moment["from"] >= end, (moment, begin, end)


# -- the list --


def test_5000_moments_are_kept_and_the_loss_of_older_ones_is_told(core):
    found = core.run(CAPTION_MANY, core.live().state)
    text = found.pop("text")
    said = "The oldest 200 moments are gone: 5,000 are kept."
    assert found == {"count": 5000, "gone": 200, "first": "200", "said": said, "isKept": True}
    assert len(text) < 2_000_000


def test_clear_can_be_undone_for_ten_seconds(core):
    for undone_at, texts in ((10_999, ["A", "B", "B"]), (11_001, ["B"])):
        core.begin().live().captioned(at=0, text="A", took=0).captioned(at=500, text="B", took=0)
        core.dispatch("history-cleared", 1000)
        assert entries_of(core) == []
        # What is said afterwards is new, even if it equals the last text.
        core.captioned(at=2000, text="B", took=0)
        assert [one["text"] for one in entries_of(core)] == ["B"]
        core.dispatch("history-restored", undone_at) if undone_at < 11_000 else core.dispatch(
            "panel-toggled", undone_at, panel="history"
        ).dispatch("history-restored", undone_at)
        assert [one["text"] for one in entries_of(core)] == texts


# -- what is kept for a reload --


def test_only_a_session_is_believed_after_a_reload(core):
    core.live().captioned(at=0, took=0).dispatch("stopped", 1000).live(2000).captioned(at=3000)
    kept = core.run("return M.keptText(arg, false);", core.state["session"])
    core.begin(kept=core.run("return M.sessionOf(arg);", kept))
    assert [one["kind"] for one in entries_of(core)] == ["caption", "gap", "caption"]
    core.live(5000).captioned(at=6000, took=0)
    assert spans(core)[-2][0] == "stopped"
    ids = [one["id"] for one in entries_of(core)]
    assert len(set(ids)) == len(ids)
    entry = json.loads(kept)["entries"][0]
    wrong = [
        *(entry | {"from": None}, entry | {"to": -1}, entry | {"text": 7}, entry | {"id": "1"}),
        *({**entry, "kind": "gap", "whys": ["none"]}, 5, None, []),
    ]
    texts = [None, "", "{", "[]", "null", '{"entries": 5}', json.dumps({"entries": wrong})]
    found = core.run("return arg.map((text) => M.sessionOf(text).session.entries);", texts)
    assert found == [[]] * len(texts)
    extra = json.dumps(
        {"entries": [entry | {"onclick": "x", "thing": {"name": "cup"}, "cut": {"by": "x"}}]}
    )
    assert core.run("return M.sessionOf(arg).session.entries;", extra) == [entry]


# -- files --

QUESTION = '=HYPERLINK("http://x","y")'


def files_of(core) -> dict[str, str]:
    core.begin(settings={"asksOwn": True, "ownPrompt": QUESTION}).live()
    core.captioned(at=0, text=' -1 "quoted",\nand --> more ', took=0)
    core.dispatch("setting-changed", 500, name="asksOwn", value=False)
    core.captioned(at=1500, text="A cup.", took=0).captioned(at=9_500, text="A cup.", took=0)
    core.dispatch("stopped", 10_000).live(3_700_000)
    core.captioned(at=3_723_004, text="مرحبا", took=0)
    files = "return Object.fromEntries(Object.entries(M.FILES).map(([k, f]) => [k, f.write(arg)]));"
    return core.run(files, entries_of(core))


def test_csv_has_all_fields_and_no_formula(core):
    text = files_of(core)["csv"]
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["kind"] for row in rows] == ["caption", "caption", "gap", "caption"]
    assert rows[0]["question"] == f"'{QUESTION}"
    assert rows[0]["text"] == '\'-1 "quoted",\nand --> more'
    assert rows[1]["model"] == "nano"
    times = [datetime.fromisoformat(f"{row['date']}T{row['time']}") for row in rows]
    assert times == sorted(times)
    assert rows[2]["note"].startswith("Stopped ")
    assert not any(value[:1] in "=+-@\t\r" for row in rows for value in row.values() if value)


def test_subtitles_have_the_times_of_what_was_seen(core):
    blocks = files_of(core)["srt"].strip().split("\n\n")
    assert [block.split("\n")[:2] for block in blocks] == [
        ["1", "00:00:00,000 --> 00:00:01,500"],
        ["2", "00:00:01,500 --> 00:00:09,500"],
        ["3", "01:02:03,004 --> 01:02:05,004"],
    ]
    assert blocks[0].split("\n")[2:] == [QUESTION, '-1 "quoted",', "and → more"]


def test_text_has_dates_questions_gaps_and_the_model(core):
    lines = files_of(core)["txt"].split("\n")
    assert lines[0] == "[nano]"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ \W \S+  =HYPERLINK.*: -1 \"quoted\", .*", lines[1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \(Stopped \S+ \W \S+\)", lines[3])


# -- on the page --


def test_session_is_read_saved_cleared_and_outlasts_a_reload(open_page, url, still_camera):
    page = open_page(url, still_camera, permissions=["clipboard-read", "clipboard-write"])
    start(page)
    page.locator("#open-history").click()
    entry = page.locator(".history-entry")
    text = entry.first.locator(".history-text").text_content()
    page.locator("#question-text").fill("Is it red?")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".history-question").first).to_have_text("Is it red?")
    press_start(page)
    expect(page.locator(".history-open")).to_contain_text("Stopped since")
    count = entry.count()
    for ending in ("txt", "csv", "srt"):
        page.locator(".history-format").select_option(ending)
        page.locator(".history-copy").click()
        expect(page.locator(".history-status")).to_have_text("Copied")
        with page.expect_download() as download:
            page.locator(".history-save").click()
        saved = download.value
        assert re.fullmatch(
            rf"sightline-\d{{4}}-\d\d-\d\d-\d{{6}}\.{ending}", saved.suggested_filename
        )
        written = saved.path().read_text("utf-8")
        assert "Is it red?" in written
        assert text.replace('"', '""' if ending == "csv" else '"') in written
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.replace("\r\n", "\n") == written.replace("\r\n", "\n")
    page.locator(".history-clear").click()
    expect(entry).to_have_count(0)
    expect(page.locator(".history-undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(entry).to_have_count(count)
    press_start(page)
    expect(page.locator(".history-gap")).to_have_count(1)
    before = page.locator(".history-text").all_text_contents()
    page.reload()
    expect(page.locator(".notice-title")).to_have_text("Captions were running. Go on?")
    assert page.locator(".history-text").all_text_contents()[-len(before) :] == before
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".history-gap")).to_have_count(2)
    expect(page.locator(".notice")).to_be_hidden()


# Fills the session with 300 moments and lets `sessionStorage` forget them.
FILLED = """() => {
  const entries = Array.from({ length: 300 }, (_, n) => ({
    id: n + 1, kind: "caption", text: `Caption ${n}`, lang: "en", prompt: "P", asked: "",
    by: "model", model: "nano", source: "", thing: null, cut: null,
    from: 1e12 + n * 1000, to: 1e12 + n * 1000,
  }));
  const kept = JSON.stringify({ entries, gone: 7, wasRunning: false });
  sessionStorage.setItem("sightline.session", kept);
}"""


def test_long_list_is_read_undisturbed(open_page, url, still_camera):
    fill = f"if (location.search === '?fill') ({FILLED})();"
    page = open_page(f"{url}?fill", still_camera, init_script=fill)
    page.locator("#open-history").click()
    entry = page.locator(".history-entry")
    expect(entry).to_have_count(200)
    page.locator(".history-more").click()
    expect(entry).to_have_count(300)
    expect(page.locator(".history-gone")).to_contain_text("oldest 7")
    body = page.locator("#history .panel-body")
    body.evaluate("(body) => { body.scrollTop = 4000; }")
    top = "(item) => item.getBoundingClientRect().top"
    seen = entry.nth(80)
    seen_text = seen.locator(".history-text").text_content()
    press_start(page)
    pill = page.locator(".history-new")
    expect(pill).to_have_text(re.compile(r"\d+ new"))
    moved = page.locator(".history-entry", has_text=re.compile(f"{seen_text}$"))
    assert 0 <= moved.evaluate(top) <= page.viewport_size["height"] + 4000
    pill.click()
    expect(pill).to_be_hidden()
    assert body.evaluate("(body) => body.scrollTop") == 0


def test_forbidden_storage_is_told(open_page, url, still_camera):
    forbid = """for (const name of ["sessionStorage", "localStorage"]) {
      Object.defineProperty(window, name, {
        get() { throw new DOMException("no", "SecurityError"); },
      });
    }"""
    page = open_page(url, still_camera, init_script=forbid)
    page.locator("#open-history").click()
    start(page)
    page.evaluate("dispatchEvent(new Event('beforeunload'))")
    expect(page.locator(".history-keeping")).to_contain_text("This browser keeps nothing")
    # A change holds until then.
    page.keyboard.press("m")
    expect(page.locator("#video")).to_have_attribute("data-mirror", "")
    page.locator("#open-preferences").click()
    expect(page.locator(".preferences-note")).to_contain_text("changes here last until")
