"""The evaluation `real`: its lists fit together, and its figures count what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from PIL import Image, ImageChops

from tools.evals.__main__ import main
from tools.evals.figures import Figure, as_json, share, table
from tools.evals.photographs import DEFAULT_FOLDER, ROOT, lists
from tools.evals.real.memory import different_frames
from tools.evals.real.names import Picture, name_figures, things_named
from tools.evals.real.scenes import plain_frames
from tools.evals.real.start import text_of
from tools.evals.real.texts import SIGNS, draw_sign
from vlm.classify.words import load_words
from vlm.finder.sentence import FirstLine, Name

LISTS = lists()
VERDICTS = json.loads((ROOT / "tools" / "evals" / "verdicts.json").read_text("utf-8"))["verdicts"]


def picture(name: str, said: Sequence[str], shown: Sequence[str] = ()) -> Picture:
    """Return a picture whose line says the names of words and boxes."""
    words = load_words()
    names = [Name(each, words.noun(each).phrase(), 0.1) for each in said]
    return Picture(name, FirstLine(None, tuple(names)), frozenset(shown))


def test_the_lists_name_each_picture_once_and_known_things() -> None:
    boxes = load_words().boxes.keys()
    assert all(set(things) <= boxes for things in LISTS["things"].values())
    for key in ("useful", "without_text", "textures"):
        assert len(set(LISTS[key])) == len(LISTS[key])
    assert set(LISTS["things"]) <= set(LISTS["useful"])
    assert not set(LISTS["textures"]) & set(LISTS["useful"])
    assert VERDICTS.keys() <= set(LISTS["useful"])


def test_verdicts_are_one_of_three() -> None:
    given = {verdict for verdicts in VERDICTS.values() for verdict in verdicts.values()}
    assert given == {"caption", "seen", "wrong"}


@pytest.mark.skipif(not DEFAULT_FOLDER.is_dir(), reason="the photographs are not here")
def test_the_captions_of_the_photographs_are_those_of_the_list() -> None:
    captions = json.loads((DEFAULT_FOLDER / "captions.json").read_text("utf-8"))
    assert {entry["file"] for entry in captions} == LISTS["things"].keys()


@pytest.mark.parametrize(
    ("said", "things"),
    [
        (["poodle", "seabird"], {"dog", "bird"}),
        (["baseball player"], {"person"}),
        (["computer", "plant"], {"tv", "potted plant"}),
        (["animal", "food"], set()),
        (["person", "table"], {"person", "dining table"}),
    ],
)
def test_finer_words_count_as_the_thing_and_broader_do_not(
    said: Sequence[str], things: set[str]
) -> None:
    assert things_named(picture("any", said).line) == things


def test_figures_over_names() -> None:
    bear, banana = "000000000285.jpg", "000000013004.jpg"
    pictures = [
        picture(bear, ["bear", "hat"], ["bear"]),
        picture(banana, ["bowl"], ["banana", "bowl"]),
    ]
    figures = {figure.key: figure for figure in name_figures(pictures, LISTS)}
    values = {key: figure.value for key, figure in figures.items()}
    assert values == {
        "recall_boxes": 1.0,
        "recall": 0.5,
        "precision": pytest.approx(1 / 3),
        "precision_coco": pytest.approx(1 / 3),
        "useful": 0.5,
    }
    assert "1 without a verdict" in figures["precision"].note


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        (Figure("a", 0.9, least=0.9), True),
        (Figure("a", 0.89, least=0.9), False),
        (Figure("a", 0.9, most=0.9), True),
        (Figure("a", 0.91, most=0.9), False),
        (Figure("a", None, most=0.9), None),
        (Figure("a", 0.9), None),
        (share("a", 0, 0, least=1.0), None),
    ],
)
def test_a_figure_is_met_at_its_target(figure: Figure, is_met: bool | None) -> None:
    assert figure.is_met is is_met


def test_the_table_and_the_json_have_all_figures() -> None:
    figures = [share("one", 1, 4, "things", least=0.5), Figure("two", None, most=2.0)]
    header, one, two = table(figures).splitlines()
    assert header.split() == ["figure", "value", "target", "note"]
    assert one.split() == ["one", "0.250", "at", "least", "0.5", "MISSED", "1", "of", "4", "things"]
    assert two.split() == ["two", "-", "at", "most", "2"]
    assert as_json(figures) == {
        "one": {"value": 0.25, "target": "at least 0.5", "note": "1 of 4 things"},
        "two": {"value": None, "target": "at most 2", "note": ""},
    }


def test_frames_for_the_memory_are_all_different() -> None:
    image = Image.linear_gradient("L").convert("RGB").resize((320, 240))
    frames = [frame.tobytes() for frame in different_frames([image], 20)]
    assert len(set(frames)) == 20


def test_signs_are_drawn_whole_and_alone() -> None:
    for number, sign in enumerate(SIGNS):
        image = draw_sign(sign, (640, 360), number)
        ground = Image.new("RGB", image.size, image.getpixel((0, 0)))
        box = ImageChops.difference(image, ground).getbbox()
        assert box is not None
        assert 0 < box[0] < box[2] < 640, sign
        assert 0 < box[1] < box[3] < 360, sign
    assert len(set(SIGNS)) == 12


@pytest.mark.parametrize(
    ("argv", "code"),
    [([], 2), (["unreal"], 2), (["--help"], 0), (["real", "--words", "0"], 1)],
)
def test_a_wrong_command_line_is_told(
    argv: Sequence[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == code
    assert capsys.readouterr().err


def test_plain_frames_are_frames_of_one_size_and_differ() -> None:
    frames = list(plain_frames())
    assert {frame.size for frame in frames} == {(640, 480)}
    assert len({frame.tobytes() for frame in frames}) == len(frames)


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            'event: token\ndata: {"text": "A"}\n\nevent: done\ndata: {"text": "A cat."}\n\n',
            "A cat.",
        ),
        (': waiting\n\nevent: done\ndata: {"text": ""}\n\n', ""),
        ('event: error\ndata: {"error": {}}\n\n', None),
        ("", None),
    ],
)
def test_the_text_of_a_stream(events: str, text: str | None) -> None:
    assert text_of(events) == text
