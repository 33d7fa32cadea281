"""Captions and lists: they are true, and parsing returns what they name."""

from __future__ import annotations

import itertools
import json
from collections import Counter

from tools.nano import language
from tools.nano.scenes import Frame
from tools.nano.truth import Scene, SceneObject, SceneText

OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
    None: None,
}


def truth_of(scene: Scene) -> Counter[tuple[str, str]]:
    return Counter((item.colour, item.shape) for item in scene.objects)


def test_captions_name_the_true_objects(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        for text in (language.caption(scene), language.detailed_caption(scene)):
            assert language.objects_in(text) == truth_of(scene)
        assert language.objects_in(language.object_list(scene)) == truth_of(scene)


def test_list_downwards_is_ordered_or_none(
    mixed_frames: list[Frame],
) -> None:
    listed_scenes = 0
    for scene in (frame.scene for frame in mixed_frames):
        heights = {(item.colour, item.shape): item.y for item in scene.objects}
        if len(heights) < max(2, len(scene.objects)):
            continue
        listed = language.list_downwards(scene)
        gaps = [below - above for above, below in itertools.pairwise(sorted(heights.values()))]
        if scene.text is None:
            assert (listed is None) == (min(gaps) < 0.05)
        if listed is not None:
            listed_scenes += 1
            assert list(language.objects_in(listed)) == sorted(heights, key=heights.__getitem__)
            assert ("word" in listed or "number" in listed) == (scene.text is not None)
    assert listed_scenes > 10


def test_list_downwards_includes_the_text() -> None:
    item = SceneObject("star", "red", "large", "striped", 0.5, 0.2)
    below = Scene("words", (item,), SceneText("42", "blue", 0.5, 0.7), "desk", "dim")
    above = Scene("words", (item,), SceneText("42", "blue", 0.5, 0.1), "desk", "dim")
    assert language.list_downwards(below) == 'striped red star, number "42" in blue'
    assert language.list_downwards(above) == 'number "42" in blue, striped red star'


def test_captions_quote_the_text(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        written = scene.text.text if scene.text else None
        assert language.quoted_in(language.caption(scene)) == written
        assert language.quoted_in(language.detailed_caption(scene)) == written


def test_captions_are_sentences(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        for text in (language.caption(scene), language.detailed_caption(scene)):
            assert text[0].isupper()
            assert text.endswith(".")
            assert "  " not in text
            assert " ." not in text


def test_caption_is_ordered_from_left_to_right() -> None:
    objects = (
        SceneObject("star", "red", "large", "striped", 0.8, 0.2),
        SceneObject("up arrow", "orange", "small", "solid", 0.1, 0.9),
    )
    scene = Scene("words", objects, SceneText("42", "blue", 0.5, 0.5), "desk", "dim")
    assert language.caption(scene) == (
        'The number "42" in blue, an orange up arrow and a striped red star.'
    )
    assert language.detailed_caption(scene) == (
        'The number "42" in blue, a small orange up arrow at the bottom left and a large striped '
        "red star at the top right, on a desk background, in dim light."
    )
    assert language.object_list(scene) == ('number "42" in blue, orange up arrow, striped red star')


def test_json_agrees_with_the_scene(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        parsed = json.loads(language.as_json(scene))
        assert set(parsed) == {"scene", "objects", "text", "light"}
        assert language.objects_in(", ".join(parsed["objects"])) == truth_of(scene)
        assert [each.split()[0] for each in parsed["objects"]] == [
            item.size for item in sorted(scene.objects, key=lambda item: item.x)
        ]
        assert parsed["text"] == (scene.text.text if scene.text else None)
        assert parsed["light"] == scene.light
        assert parsed["scene"] == ("clear" if scene.objects or scene.text else scene.kind)


def test_hidden_empty_and_unfamiliar_scenes_have_their_captions(mixed_frames: list[Frame]) -> None:
    for scene in (frame.scene for frame in mixed_frames):
        caption = language.caption(scene)
        if scene.kind in language.STATE_SENTENCES:
            assert caption == language.STATE_SENTENCES[scene.kind]
        elif scene.kind == "unfamiliar":
            assert caption.startswith("An unfamiliar scene, mostly ")
            assert all(colour in caption for colour in scene.colours)
            assert caption.endswith(f"in {scene.light} light.")
        elif scene.kind == "empty":
            assert caption == f"An empty scene, mostly {scene.colours[0]}."


def test_places_have_nine_names() -> None:
    thirds = (0.1, 0.5, 0.9)
    assert [[language.place_of(x, y) for x in thirds] for y in thirds] == [
        ["at the top left", "at the top", "at the top right"],
        ["on the left", "in the middle", "on the right"],
        ["at the bottom left", "at the bottom", "at the bottom right"],
    ]


def test_mirrored_places_have_mirrored_names(mixed_frames: list[Frame]) -> None:
    swap = str.maketrans({"<": "right", ">": "left"})
    for item in (item for frame in mixed_frames for item in frame.scene.objects):
        here = language.place_of(item.x, item.y)
        mirrored = here.replace("left", "<").replace("right", ">").translate(swap)
        assert language.place_of(1 - item.x, item.y) == mirrored


def test_relations_are_antisymmetric(mixed_frames: list[Frame]) -> None:
    seen = set()
    for frame in mixed_frames:
        for one, other in itertools.combinations(frame.scene.objects, 2):
            relation = language.relation_of(one, other)
            assert language.relation_of(other, one) == OPPOSITE[relation]
            seen.add(relation)
    assert seen == set(OPPOSITE)


def test_relations_follow_the_positions() -> None:
    def at(x: float, y: float) -> SceneObject:
        return SceneObject("star", "red", "small", "solid", x, y)

    middle = at(0.5, 0.5)
    assert language.relation_of(at(0.1, 0.4), middle) == "to the left of"
    assert language.relation_of(at(0.9, 0.6), middle) == "to the right of"
    assert language.relation_of(at(0.4, 0.1), middle) == "above"
    assert language.relation_of(at(0.6, 0.9), middle) == "below"
    assert language.relation_of(at(0.2, 0.2), middle) is None


def test_twins_are_named_twice() -> None:
    twins = tuple(SceneObject("star", "red", "small", "solid", x, 0.5) for x in (0.2, 0.8))
    caption = language.caption(Scene("objects", twins))
    assert caption == "A red star and a red star."
    assert language.objects_in(caption) == Counter({("red", "star"): 2})


def test_parsing_ignores_other_words() -> None:
    assert language.objects_in("Predators hired shape circles, a square red.") == Counter()
    assert language.quoted_in("It says nothing.") is None
