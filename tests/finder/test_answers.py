"""Each kind of prompt about an unfamiliar frame gets its kind of answer."""

from __future__ import annotations

import json

import pytest
from evidence_kit import box, line, probabilities_of

from tools.nano.prompts_taught import PHRASINGS
from vlm.finder.answers import answer, answer_in_json, asked_by
from vlm.finder.checks import Look
from vlm.finder.sentence import FirstLine
from vlm.prompts import PRESETS

BOXES = [box("refrigerator", 0.8), box("bottle", 0.7, left=0.7, side=0.2)]
LINE = line(BOXES, {"refrigerator": 0.6}, texts=["EXIT"])
LOOK = Look(BOXES, probabilities_of({"refrigerator": 0.6}))
THINGS = "a refrigerator, a bottle"


@pytest.mark.parametrize(
    ("prompt", "kind", "thing"),
    [
        *((prompt, "describe", None) for prompt in PHRASINGS["caption"]),
        *((prompt, "describe", None) for prompt in PHRASINGS["detailed"]),
        *((prompt, "list", None) for prompt in PHRASINGS["list"]),
        *((prompt, "count", None) for prompt in PHRASINGS["count"]),
        ("How many dogs are there?", "count", None),
        ("Describe everything, and read the text.", "describe", None),
        ("Read the text.", "read", None),
        ("what is written here", "read", None),
        ("What does the sign say?", "read", None),
        ("Is there a dog?", "is_there", "dog"),
        ("Are there any people in this picture?", "is_there", "person"),
        ("Do you see my mug", "is_there", "cup"),
        ("Does this image show a red circle?", "other", None),
        ("Is a cat in the picture?", "is_there", "cat"),
        ("Where is my phone?", "where", "phone"),
        ("In which part of the image is the dog?", "where", "dog"),
        ("Where is the dog relative to the cat?", "other", None),
        ("Is the dog brown?", "other", None),
        ("What colour is the car?", "other", None),
        ("What is the man doing?", "other", None),
        ("Hello!", "describe", None),
        ("", "describe", None),
    ],
)
def test_prompts_are_told_apart(prompt: str, kind: str, thing: str | None) -> None:
    asked = asked_by(prompt)
    assert (asked.kind, asked.thing and asked.thing.name) == (kind, thing)


def test_the_presets_get_what_they_ask_for() -> None:
    kinds = {preset.id: asked_by(preset.prompt).kind for preset in PRESETS}
    assert kinds | {"light": "", "json": ""} == {
        "caption": "describe",
        "detailed": "describe",
        "objects": "list",
        "count": "count",
        "read": "read",
        "people": "other",
        "danger": "other",
        # The model answers these itself.
        "light": "",
        "json": "",
    }


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("Describe this.", f"Perhaps {THINGS}. Text: EXIT."),
        ("List the objects.", f"Perhaps {THINGS}."),
        ("How many bottles are there?", f"I do not count things. Perhaps {THINGS}. Text: EXIT."),
        ("Is there a fridge?", "Perhaps a refrigerator."),
        ("Is there a dog?", f"I see none. Perhaps {THINGS}. Text: EXIT."),
        ("Is there a lamp?", f"I cannot tell. Perhaps {THINGS}. Text: EXIT."),
        ("Where is the bottle?", "Perhaps a bottle at the top right."),
        ("Where is the dog?", f"I see none. Perhaps {THINGS}. Text: EXIT."),
        ("Is it raining?", f"I can only name things. Perhaps {THINGS}. Text: EXIT."),
    ],
)
def test_an_answer_claims_names_and_no_more(prompt: str, said: str) -> None:
    assert answer(asked_by(prompt), LINE, LOOK) == said


def test_nothing_is_said_of_nothing() -> None:
    nothing, look = FirstLine(None, ()), Look([], probabilities_of({}))
    assert answer(asked_by("What is this?"), nothing, look) == "Nothing that I know."
    assert answer(asked_by("List the objects."), nothing, look) == "Nothing that I know."


@pytest.mark.parametrize(
    ("left", "top", "where"),
    [
        (0.0, 0.0, " at the top left"),
        (0.45, 0.0, " at the top"),
        (0.9, 0.45, " on the right"),
        (0.45, 0.45, " in the middle"),
        (0.9, 0.9, " at the bottom right"),
    ],
)
def test_a_thing_is_in_one_of_nine_parts(left: float, top: float, where: str) -> None:
    from vlm.results import Box

    boxes = [Box("cup", 0.9, left, top, left + 0.1, top + 0.1)]
    said = answer(asked_by("Where is my cup?"), line(boxes), Look(boxes, probabilities_of({})))
    assert said == f"Perhaps a cup{where}."


def test_json_stays_json() -> None:
    own = '{"scene": "unfamiliar", "objects": [], "text": null, "light": "dim"}'
    assert json.loads(answer_in_json(own, LINE)) == {
        "scene": "unfamiliar",
        "objects": ["a refrigerator", "a bottle"],
        "text": "EXIT",
        "light": "dim",
    }
    # The token limit has cut the model's object.
    cut = json.loads(answer_in_json(own[:40], FirstLine("a kitchen", ())))
    assert cut == {"scene": "kitchen", "objects": [], "text": None}
