"""The page's timeline without a page: pages, windows, the strip of a day, filters, jobs."""

from __future__ import annotations

from typing import Any

from state_core import STATUS

MODULES = "core/timeline-list core/timeline-query core/timeline-strip core/timeline words/timeline"
KEEPING = {
    **{"keep": "words", "days": 7, "mb": 500, "available": True, "file": "/data/timeline.sqlite3"},
    **{"bytes": 84_000_000, "moments": 3, "fault": None},
}
DAY_S = 86_400
# Noon of a day without a change of the clocks.
NOON_MS = 1_780_000_000_000 - 1_780_000_000_000 % 86_400_000 + 43_200_000

# Random pages, as a server has them that gets and loses moments while the list is read.
WALK = """
  const random = () => (arg.seed = (arg.seed * 16807) % 2147483647) / 2147483647;
  let [all, list, next] = [[], M.NO_LIST, 1];
  const page = (before) => {
    const from = before === null ? all : all.filter(({ id }) => id < before);
    const moments = from.slice(0, 10);
    return { moments, gaps: [], before: from.length > 10 ? moments.at(-1).id : null };
  };
  const wrong = [];
  for (let step = 0; step < 2000; step += 1) {
    const added = Math.floor(random() * 4) * (random() < 0.05 ? 10 : 1);
    for (let n = 0; n < added; n += 1) {
      const from = Math.floor(next / 3);
      all = [{ id: next, from, to: from, text: "", kept: false }, ...all];
      next += 1;
    }
    if (all.length > 0 && random() < 0.1) {
      const gone = all[Math.floor(random() * Math.min(10, all.length))];
      all = all.filter((one) => one !== gone);
    }
    all = all.map((one, index) => (index === 0 ? { ...one, to: one.to + 1 } : one));
    if (!list.isLoaded) list = M.listOf(page(null));
    else if (random() < 0.4 && list.before !== null) list = M.withOlder(list, page(list.before));
    else list = M.withNewest(list, page(null));
    const ids = list.moments.map(({ id }) => id);
    const isSorted = ids.every((id, index) => index === 0 || id < ids[index - 1]);
    if (!isSorted) wrong.push(`${step}: not in order`);
    if (new Set(ids).size !== ids.length) wrong.push(`${step}: twice`);
  }
  // Read to its end, it has all that is there, each once.
  list = M.withNewest(list, page(null));
  while (list.before !== null) list = M.withOlder(list, page(list.before));
  const there = new Set(list.moments.map(({ id }) => id));
  const rows = M.rowsOf(list, false).filter(({ type }) => type === "moment");
  return { wrong, missing: all.filter(({ id }) => !there.has(id)).length, rows: rows.length,
           count: list.moments.length };
"""

WINDOWS = """
  const rows = Array.from({ length: 100000 },
    (_, n) => ({ key: n, type: n % 9 ? "moment" : "gap" }));
  const measured = rows.filter(({ key }) => key % 7 === 0);
  const heights = new Map(measured.map(({ key }) => [key, 28 + key % 200]));
  const tops = M.topsOf(rows, heights);
  const wrong = [];
  for (let top = 0; top < tops.at(-1); top += 104729) {
    const { first, end } = M.windowOf(tops, top, top + 700);
    const isCovered = tops[first] <= top && (tops[end] >= top + 700 || end === rows.length);
    if (!isCovered || end - first > M.MOST_ROWS) wrong.push([top, first, end]);
  }
  return { wrong, none: M.windowOf(M.topsOf([], heights), 0, 700), end: M.rowAt(tops, 1e12) };
"""


def run(core: Any, body: str, arg: Any = None) -> Any:
    return core.run(body, arg, MODULES)


def test_list_is_in_order_and_whole_whatever_comes_and_goes(core):
    for seed in (3, 5, 7):
        found = run(core, WALK, {"seed": seed})
        assert found["wrong"] == []
        assert found["missing"] == 0
        assert found["rows"] == found["count"]


def test_window_covers_the_view_and_is_bounded(core):
    found = run(core, WINDOWS)
    assert found == {"wrong": [], "none": {"first": 0, "end": 0}, "end": 99_999}


def test_days_and_gaps_stand_between_moments(core):
    texts = run(
        core,
        """
        const moment = (id, from) => ({ id, from, to: from + 5, text: `${id}` });
        const noon = arg / 1000;
        const moments = [moment(3, noon), moment(2, noon - 60), moment(1, noon - 86400)];
        const gap = (from, to, camera) => ({ from, to, camera, source: "", why: "hidden" });
        const gaps = [
          gap(noon - 40, noon, "a"), gap(noon - 80, null, "b"), gap(noon - 1e7, 5, "c")];
        const list = M.listOf({ moments, gaps, before: "1_1" });
        return M.rowsOf(list, false).map(({ type, gap, isOver, moment, clock }) =>
          type === "day" ? "day" : type === "gap" ? M.keptGapText(gap, isOver).split(" ")[2]
            : moment.text);
        """,
        NOON_MS,
    )
    # A gap without an end is over once something follows; one beyond the page is not there yet.
    assert [text for text in texts if ":" not in text] == ["day", "3", "2", "at", "day", "1"]
    assert len(texts) == 7


def test_strip_has_all_changes_of_its_day_and_hatches_gaps(core):
    found = run(
        core,
        """
        const day = M.dayOf(arg);
        const at = (hours) => day.from + hours * 3600;
        const half = (hours, captions) => ({ from: at(hours), captions, answers: 1, alerts: 0 });
        const halfHours = [half(0, 0), half(9.5, 3), half(23.5, 11), half(24, 9)];
        const gaps = [{ from: at(10), to: at(12.1) }, { from: at(13), to: null }];
        const strip = M.stripOf({ day, halfHours, gaps }, at(14.25));
        return {
          count: strip.length,
          changes: strip.map(({ changes }) => changes).filter(Boolean),
          highest: Math.max(...strip.map(({ height }) => height)),
          gaps: strip.flatMap(({ isGap }, index) => (isGap ? [index] : [])),
          ahead: strip.findIndex(({ isAhead }) => isAhead),
          texts: [19, 20, 1, 40].map((slot) => M.slotText(strip[slot])),
          slots: [-5, 0.6, 23.9, 99].map((hours) => M.slotOf(strip, at(hours))),
          busy: [M.nextBusy(strip, 0, 1), M.nextBusy(strip, 19, -1), M.nextBusy(strip, 47, 1)],
        };
        """,
        NOON_MS,
    )
    assert found == {
        "count": 48,
        "changes": [1, 4, 12],
        "highest": 1,
        "gaps": [20, 21, 22, 23, 26, 27, 28],
        "ahead": 29,
        "texts": [
            "09:30, 4 changes",
            "10:00, not looked at",
            "00:30, no changes",
            "20:00, not there yet",
        ],
        "slots": [0, 1, 47, 47],
        "busy": [19, 0, 47],
    }


def test_filters_say_what_is_sent(core):
    sent = run(
        core,
        """
        const [day, noon] = [M.dayOf(arg).from, arg];
        const fields = (changes) => M.fieldsOf({ ...M.NO_FILTER, ...changes }, noon);
        const like = { id: 7, from: 1 };
        return [
          fields({}), fields({ words: "r" }), fields({ words: " red star " }),
          fields({ range: "today" }).from === day, fields({ range: "yesterday" }).to === day,
          fields({ range: "days", fromDay: "", toDay: "" }),
          fields({ range: "today", until: day + 9 }).to === day + 9,
          fields({ range: "yesterday", until: day + 9 }).to === day,
          fields({ source: "Door", kind: "answer", kept: true }), fields({ words: "red", like }),
          ["when was it", "a red star", "red star?", "what", "how many dogs"].map(M.isQuestion),
        ];
        """,
        NOON_MS,
    )
    assert sent == [
        *({}, {}, {"q": "red star"}, True, True, {}, True, True),
        *({"camera": "Door", "kind": "answer", "kept": "1"}, {"like": 7}),
        [True, False, True, False, True],
    ]


def with_settings(core: Any, **changes: Any) -> Any:
    """A ready page whose server has answered with its settings."""
    core.begin().dispatch("status-received", status={**STATUS, "same_machine": True})
    core.dispatch("panel-toggled", panel="history").dispatch("timeline-poll-due", 1)
    job = core.state["timeline"]["jobs"][0]
    assert job["what"] == "settings"
    return core.dispatch("timeline-job-done", 2, id=job["id"], answer={**KEEPING, **changes})


def test_each_state_of_the_server_is_said(core):
    texts = "return [M.faultText(arg), M.keptText(arg), M.showsKept(arg), M.offersToKeep(arg)];"
    fault = {"code": "disk_full", "why": "No space.", "since": NOON_MS / 1000}
    kept = "Words, 7 days, 84 MB, on this computer"
    cases = (
        ({}, "", kept, True, False),
        ({"keep": "off", "moments": 0}, "", "Nothing is kept.", False, True),
        (
            {"keep": "off"},
            "",
            "Nothing more is kept. 3 moments of before, 84 MB, on this computer.",
            False,
            True,
        ),
        (
            {"available": False, "keep": "off"},
            "This server keeps no timeline: it was started with --no-timeline.",
            "",
            False,
            False,
        ),
    )
    for changes, *said in cases:
        assert run(core, texts, with_settings(core, **changes).state) == said, changes
    said = run(core, texts, with_settings(core, fault=fault).state)[0]
    assert said.startswith("Nothing more is kept since ")
    assert said.endswith(": the disk is full. Captions go on.")
    # A client that may not change the timeline sees that it is kept, and no offer.
    status = {**STATUS, "can_change_models": False, "timeline": "words"}
    core.begin().dispatch("status-received", status=status)
    core.dispatch("panel-toggled", panel="history")
    fault_text, _, shows, offers = run(core, texts, core.state)
    assert fault_text.endswith("Only there it can be seen, changed and deleted.")
    assert (shows, offers) == (False, False)
    assert run(core, "return M.timelinePollAt(arg);", core.state) is None


def test_what_is_deleted_comes_back_in_its_place_within_ten_seconds(core):
    moments = [
        {"id": n, "from": n, "to": n, "text": "A star.", "source": "", "picture": False}
        for n in (3, 2, 1)
    ]
    with_settings(core).dispatch("timeline-poll-due", 5000)
    job = next(each for each in core.state["timeline"]["jobs"] if each["what"] == "list")
    page = {"moments": moments, "gaps": [], "before": None}
    core.dispatch("timeline-job-done", 5001, id=job["id"], answer=page)
    core.dispatch("timeline-deleted", 6000, moment=moments[1])
    deletion = {"deletion": 4, "moments": 1, "undo_s": 10}
    core.dispatch(
        "timeline-job-done", 6100, id=core.state["timeline"]["lastJobId"], answer=deletion
    )
    shown = "return [arg.timeline.list.moments.map(({ id }) => id), M.undoable(arg, %d)?.deletion];"
    assert run(core, shown % 16_099, core.state) == [[3, 1], 4]
    assert run(core, shown % 16_100, core.state) == [[3, 1], None]
    core.dispatch("timeline-undone", 16_000)
    core.dispatch(
        "timeline-job-done", 16_001, id=core.state["timeline"]["lastJobId"], answer={"moments": 1}
    )
    assert run(core, shown % 16_002, core.state) == [[3, 2, 1], None]


def test_newer_question_or_filter_replaces_the_one_before(core):
    with_settings(core).dispatch("timeline-filtered", 10, changes={"words": "star"})
    core.dispatch("timeline-filtered", 20, changes={"words": "stars"})
    core.dispatch("timeline-asked", 30, question="When?").dispatch(
        "timeline-asked", 40, question="Where?"
    )
    jobs = core.state["timeline"]["jobs"]
    lists = [job["fields"] for job in jobs if job["what"] == "list"]
    assert lists == [{"q": "stars"}]
    assert [job["question"] for job in jobs if job["what"] == "ask"] == ["Where?"]
    old = next(job["id"] for job in jobs if job["what"] == "ask") - 1
    core.dispatch("timeline-answer-text", 50, id=old, text="of the first")
    assert core.state["timeline"]["answer"]["text"] == ""
    core.dispatch("timeline-answer-closed", 60)
    assert core.state["timeline"]["answer"] is None
    assert not [job for job in core.state["timeline"]["jobs"] if job["what"] == "ask"]
