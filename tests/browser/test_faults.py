"""Each fault has words and a way on, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from state_core import FAILED, STATS, STATUS, Core

STILL_LIMIT = 20


def freeze(core: Core, at: float) -> None:
    """Freeze the picture; its still has the standing question as a turn."""
    core.dispatch("freeze-pressed", at)
    still = {"id": core.plan["stillId"], "picture": None, "width": 4, "height": 3}
    core.dispatch("still-taken", at + 1, **still)


def answer(core: Core, at: float, text: str = "A cup.") -> None:
    core.dispatch("ask-started", at)
    ask_id = core.state["asking"]["id"]
    core.dispatch("ask-done", at + 1, id=ask_id, text=text, end="stop", stats=STATS, seconds=1)


def frozen(core: Core) -> Core:
    core.live().captioned(at=0)
    freeze(core, 1000)
    return core


def model_changed(core: Core) -> None:
    frozen(core).dispatch("ask-started", 1100)
    core.dispatch("status-received", 1200, status={**STATUS, "model": "org/Other"})
    core.dispatch("ask-done", 1300, id=1, text="A cup.", end="stop", stats=STATS, seconds=1)


def still_gone(core: Core) -> None:
    core.live().captioned(at=0)
    for number in range(STILL_LIMIT + 1):
        freeze(core, 1000 + number)
        if number != 1:
            answer(core, 1000 + number)
        core.dispatch("freeze-pressed", 1001 + number)
    # The second question is open, so its picture stays, and the first one goes.
    kept = [still["id"] for still in core.state["stills"]]
    assert kept == list(range(2, STILL_LIMIT + 2))
    core.dispatch("view-opened", 2000, stillId=1, panel=None)


def compared_still_gone(core: Core) -> None:
    frozen(core).dispatch("ask-started", 1100)
    core.dispatch("ask-failed", 1200, id=1, kind="gone", message="")


def context_full(core: Core) -> None:
    frozen(core)
    for number in range(9):
        answer(core, 1100 + number)
        core.dispatch("question-asked", 1101 + number, question={"prompt": f"And {number}?"})
    history = "return M.historyOf(arg.stills[0].thread, M.dueTurn(arg).turn);"
    sent = core.run(history, core.state)
    assert [turn["question"] for turn in sent] == [f"And {number}?" for number in range(8)]
    # A server whose model takes less gets half of it.
    core.dispatch("ask-started", 2000)
    ask_id = core.state["asking"]["id"]
    core.dispatch("ask-failed", 2100, id=ask_id, kind="refused", message="Too long.")
    assert len(core.run(history, core.state)) == 4
    answer(core, 2200)


def server_gone(core: Core) -> None:
    frozen(core).dispatch("ask-started", 1100)
    core.dispatch("ask-failed", 1200, id=1, kind="unreachable", message="Gone.")
    assert core.plan["askAt"] is None
    core.dispatch("status-received", 5000, status=STATUS)
    # It is asked again by itself.
    assert core.plan["askAt"] is not None


def frozen_while_the_server_is_gone(core: Core) -> None:
    """The live picture's words are of before; what the still shows they do not tell."""
    core.live().captioned(at=0).dispatch("capture-started", 900)
    core.dispatch("request-failed", 950, kind="unreachable", message="Gone.")
    freeze(core, 1000)
    assert core.state["caption"]["text"] == ""


def asked_about_a_failed_model(core: Core) -> None:
    core.live().captioned(at=0).dispatch("status-received", 900, status=FAILED)
    freeze(core, 1000)


def refused_over_live_words(core: Core) -> None:
    """Until an answer comes the live picture's words stay, also if it breaks off; no longer."""
    for text in ("", "A red sq"):
        core.begin()
        assert frozen(core).state["caption"]["text"] == "A red circle."
        core.dispatch("ask-started", 1100)
        ask_id = core.state["asking"]["id"]
        core.dispatch("ask-text", 1150, id=ask_id, text=text)
        core.dispatch("ask-failed", 1200, id=ask_id, kind="bad_request", message="Too long.")
        assert core.state["caption"]["text"] == ""


def settings_not_kept(core: Core) -> None:
    core.live().dispatch("settings-kept", isKept=False)


def session_not_kept(core: Core) -> None:
    core.live().captioned(at=0).dispatch("session-kept", 200, isKept=False)


def two_tabs(core: Core) -> None:
    core.live().dispatch("tab-heard", 100, id="other", claim=None)


def two_tabs_that_speak(core: Core) -> None:
    core.dispatch("voices-listed", 0, voices=[{"id": "a", "name": "A", "lang": "en"}])
    core.live().dispatch("tab-used", 50).dispatch("voice-toggled", 60)
    speaker = "return M.speakerOf(arg);"
    assert core.run(speaker, core.state) == "sightline"
    core.dispatch("tab-heard", 100, id="other", claim=100)
    assert core.run(speaker, core.state) == "elsewhere"
    # Used again, or alone again, it speaks.
    for type_, fields in (("tab-used", {}), ("tab-heard", {"id": "other"})):
        again = core.run(
            "return M.speakerOf(M.reduce(...arg));",
            [core.state, {"type": type_, "at": 200, "clock": 200, **fields}],
        )
        assert again == "sightline"


def no_voices(core: Core) -> None:
    core.live().dispatch("voice-toggled", 10).dispatch("voices-listed", 3000, voices=[])


def voice_stopped(core: Core) -> None:
    no_voices(core)
    core.dispatch("voices-listed", 3100, voices=[{"id": "a", "name": "A", "lang": "en"}])
    core.dispatch("voice-failed", 9000)


NOTE = "const s = arg.stills.at(-1); return M.turnTexts(arg, s, s.thread.at(-1)).note;"
NOTICE = "const n = M.noticeOf(arg, 2500); return [n.title, n.actions[0].label].join(' | ');"
FAULTS: dict[str, tuple[Callable[[Core], None], str, str]] = {
    "model changed": (model_changed, NOTE, "answered by nano, not by Other · 1.0 s"),
    "picture gone": (
        still_gone,
        NOTICE,
        "That frozen picture is no longer here | Open the timeline",
    ),
    "compared picture gone": (compared_still_gone, NOTE, "That picture is no longer here"),
    "context full": (context_full, NOTE, "the first questions are no longer remembered"),
    "server gone": (server_gone, NOTE, "Your question waits until it is back."),
    "frozen while the server is gone": (
        frozen_while_the_server_is_gone,
        NOTE,
        "The server does not answer. Your question waits until it is back.",
    ),
    "asked about a failed model": (asked_about_a_failed_model, NOTE, "Choose another one"),
    "refused": (refused_over_live_words, NOTE, "Too long."),
    "settings not kept": (
        settings_not_kept,
        "return M.settingsNotes(arg).join();",
        "allow this address to store data",
    ),
    "session not kept": (
        session_not_kept,
        "return M.keepingText(arg);",
        "deleted when the page is closed",
    ),
    "two tabs": (two_tabs, "return M.settingsNotes(arg).join();", "Both share these settings"),
    "two tabs that speak": (
        two_tabs_that_speak,
        "return M.voiceLabel(arg) + ' | ' + M.voiceHint(arg);",
        "Voice: in another tab | Another tab of this page speaks, since it was used last. Press",
    ),
    "no voices": (no_voices, "return M.voiceHint(arg);", "your screen reader is told instead"),
    "voice stopped": (voice_stopped, "return M.voiceHint(arg);", "does not answer"),
    "2,500 characters": (
        lambda core: None,
        "return M.countText(2500, 2000);",
        "2500 of 2000: 500 too many",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_has_words_and_a_way_on(core, name):
    break_, words, expected = FAULTS[name]
    break_(core)
    state: Any = core.state
    assert expected in core.run(words, state)
