"""Words of an answer: how sure the model is of each, and what it looked at."""

from __future__ import annotations

from typing import Any

from state_core import NANO, STATS, STATUS

SURE = "core/sure words/sure"


def word(text: str, start: int, probability: float, **fields: Any) -> dict[str, Any]:
    return {
        **{"text": text, "start": start, "end": start + len(text), "probability": probability},
        **{"alternatives": [], **fields},
    }


def claim(phrase: str, start: int | None, supported: bool) -> dict[str, Any]:
    end = None if start is None else start + len(phrase)
    return {"phrase": phrase, "start": start, "end": end, "supported": supported}


def test_doubts_are_placed_and_named(core):
    sure = {
        "unsure": True,
        "words": [word("A", 0, 0.99), word("🟥red", 2, 0.4), word("cup.", 7, 0.3)],
    }
    text = "A 🟥red cup."
    cases = [
        ({"sure": sure}, ["2-7 unsure", "8-12 unsure"], ["unsure of “cup” (30 %), “red” (40 %)"]),
        # A denied claim is not unsure as well.
        (
            {"sure": sure, "stats": {"claims": [claim("red cup", 3, False), claim("A", 0, True)]}},
            ["4-11 denied"],
            [
                "unsure of “cup” (30 %), “red” (40 %)",
                "the model denies when asked: “red cup”",
            ],
        ),
        (
            {"sure": None, "stats": {"claims": [claim("a dog", None, False)]}},
            [],
            ["left out, as the model denied it: “a dog”"],
        ),
        ({"sure": {"unsure": True, "words": []}, "stats": STATS}, [], ["unsure"]),
        ({"sure": None, "stats": None}, [], []),
    ]
    for caption, places, texts in cases:
        found, told = core.run(
            "return [M.doubtsOf(arg[0], arg[1]), M.doubtTexts(arg[1])];", [text, caption], SURE
        )
        assert [f"{one['from']}-{one['to']} {one['kind']}" for one in found] == places, caption
        assert told == texts, caption


def test_a_model_that_cannot_check_claims_captions_without_them(core):
    core.begin().live().dispatch("setting-changed", 0, name="claims", value="strict")
    core.dispatch("capture-started", 1).dispatch("frame-sent", 2)
    assert core.state["request"]["claims"] == "strict"
    core.dispatch("request-failed", 3, kind="not_supported", message="No scores.")
    assert core.plan["captureAt"] == 3 and core.state["problem"] is None
    hint = "return M.claimsHint(arg);"
    assert core.run(hint, core.state, SURE).startswith("This model cannot be asked")
    core.captioned(at=4)
    assert core.state["caption"]["sent"]["claims"] == "off"
    # A question as well; another model is asked again.
    core.begin().live().dispatch("setting-changed", 0, name="claims", value="mark")
    core.dispatch("question-asked", 5, question={"prompt": "What is there?"})
    core.dispatch("still-taken", 6, id=1, picture="jpeg", width=640, height=480)
    core.dispatch("ask-started", 7)
    core.dispatch("ask-failed", 8, id=1, kind="not_supported", message="No scores.")
    assert core.plan["askAt"] == 8
    core.dispatch("ask-started", 9)
    assert core.state["stills"][0]["thread"][0]["claims"] == "off"
    remote = {**STATUS, "remote": {"origins": [], "upstreams": []}}
    asked = "return ['', 'x'].map((name) => M.claimsOf({ ...arg, claimless: name || null }));"
    assert core.run(asked, core.state, SURE) == ["mark", "mark"]
    core.dispatch("status-received", 10, status=remote)
    assert core.run(asked, core.state, SURE) == ["off", "off"]
    assert core.state["claimless"] == NANO
