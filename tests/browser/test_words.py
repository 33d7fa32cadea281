"""The notices and the texts about a caption: each failure has a text and an action."""

from __future__ import annotations

from state_core import FAILED, LOADING, STATS, STATUS

LOST = {"kind": "refused", "message": "The image is cut short."}
FAILURES = {
    "insecure": lambda core: core.begin(secure=False),
    **{
        f"camera-{problem}": lambda core, problem=problem: core.live().dispatch(
            "camera-failed", problem=problem
        )
        for problem in (
            *("denied", "dismissed", "system", "missing", "gone", "ended", "taken", "silent"),
            "unknown",
        )
    },
    "camera-muted": lambda core: core.live().dispatch("camera-muted", -5000, muted=True),
    "camera-stalled": lambda core: core.live().dispatch("camera-stalled", stalled=True),
    "server-gone": lambda core: core.live().dispatch("status-failed", message="down"),
    "model-failed": lambda core: core.live(status=FAILED),
    "frame-refused": lambda core: (
        core.live().dispatch("capture-started").dispatch("request-failed", **LOST)
    ),
}


def test_every_failure_has_a_text_and_an_action(core):
    for name, fail in FAILURES.items():
        core.begin()
        fail(core)
        notice = core.notice(1)
        assert notice["id"] == name
        assert notice["tone"] == "problem", name
        assert notice["title"] and notice["text"], name
        assert notice["actions"], name


def test_failed_model_shows_the_servers_message(core):
    core.live(status=FAILED)
    assert core.notice()["text"] == "No such folder."
    assert core.plan["pollAt"] is not None


def test_loading_notice_shows_the_progress(core):
    core.live(status={**LOADING, "progress": "Converting it, once: text model"})
    assert core.notice()["text"].startswith("Converting it, once: text model. Captions start")


def test_a_silent_server_of_the_model_has_a_notice(core):
    upstream = {"origin": "http://10.0.0.5", "healthy": True, "problem": None}
    remote = {"origins": [upstream["origin"]], "upstreams": [upstream]}
    for status, is_told in (({**STATUS, "remote": remote}, True), (STATUS, False)):
        core.begin().live(status=status).dispatch("capture-started", 1000)
        core.dispatch("frame-sent", 1100)
        assert core.notice(3999) is None
        notice = core.notice(4000)
        assert (notice is not None) is is_told
        if notice:
            assert notice["title"].endswith("server is thinking, or loading its model")
            assert notice["tone"] == "wait"
        core.dispatch("text-received", 4100, text="A")
        assert core.notice(9000) is None


def test_loading_model_and_permission_prompt_have_a_notice(core):
    core.live(status=LOADING)
    assert core.notice()["id"] == "model-loading"
    core.begin().dispatch("status-received", status=STATUS).dispatch("started")
    assert core.notice(0) is None
    assert core.notice(5000)["id"] == "camera-opening"


def test_single_busy_response_has_no_notice(core):
    core.live()
    for at in (0, 1000):
        assert core.notice(at) is None
        core.dispatch("capture-started", at)
        core.dispatch("request-failed", at, kind="busy", message="Full.")
    assert core.notice(2000)["id"] == "frame-busy"


def test_chip_tells_how_old_the_words_are(core):
    def chip(at: float) -> tuple[str, str]:
        found = core.run("return M.chipOf(...arg);", [core.state, at])
        return " ".join([found["text"], found["time"]]).strip(), found["tone"]

    core.live().captioned(1000, took=500)
    assert chip(2000) == ("Live", "good")
    core.dispatch("capture-started", 2000).dispatch("frame-sent", 2000)
    assert chip(8000) == ("Live 7 s", "wait")
    old = "return [4000, 8000].map((at) => M.areOldWords(arg, at));"
    assert core.run(old, core.state) == [False, True]
    core.dispatch("caption-done", 9000, text="A star.", stats=STATS)
    core.dispatch("capture-started", 9500).dispatch("frame-unchanged", 9600)
    assert chip(12_000) == ("Live, unchanged", "good")
    core.dispatch("stopped", 13_000)
    assert chip(14_000)[0].startswith("Stopped, the camera is off ")


def test_caption_says_what_it_answers_and_that_it_was_cut(core):
    core.live().dispatch("capture-started").dispatch("frame-sent")
    core.dispatch("caption-done", 100, text="A red", end="length", stats={**STATS, "tokens": 64})
    said = "return [M.askedText(arg), M.marksText(M.shownCaption(arg))];"
    assert core.run(said, core.state) == ["Caption", "Cut at 64 tokens."]
    own = {"asksOwn": True, "ownPrompt": "Is there a star?"}
    for name, value in own.items():
        core.dispatch("setting-changed", name=name, value=value)
    core.captioned(at=1000, text="Yes.")
    assert core.run(said, core.state) == ["Is there a star?", ""]
