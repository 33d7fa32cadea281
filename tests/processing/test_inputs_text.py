"""Tokenizer and chat template equal those of transformers, and damaged files are refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from checkpoint_copy import copy_checkpoint
from engine_kit import question_ids
from tools.reference import chat_messages, load_processor
from vlm.engine.inputs import InputBuilder
from vlm.errors import CheckpointError
from vlm.processing.chat_template import ChatTemplate
from vlm.processing.tokenizer import Tokenizer, stop_ids

ROOT = Path(__file__).resolve().parents[2]
PIECES = [
    " ", "  ", "\n", "\t", "a", "Is", "NASA", "12:45", "2024", "²", "٣", "½", "dog", "'s", "…",
    "🙂", "漢字", "é", "e\u0301", "<image>", "<end_of_utterance>", "<|im_start|>", "<row_1_col_1>",
    "<", "|>", "\u00a0", "\u200b", "\ufeff", "_", "\\n",
]  # fmt: skip


@pytest.fixture(scope="module", params=["nano", "smolvlm"])
def folder(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue("nano_dir" if request.param == "nano" else "smolvlm_dir")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """transformers' tokenizer that uses `tokenizer.json` unchanged.

    SmolVLM's configuration names GPT2Tokenizer, which drops the step that splits digits, so that
    two spaces before a digit get other ids than in the training.
    """
    return PreTrainedTokenizerFast.from_pretrained(folder)


def texts(count: int) -> list[str]:
    chance = random.Random(11)
    return ["".join(chance.choices(PIECES, k=chance.randint(0, 12))) for _ in range(count)]


def test_ids_equal_transformers(folder: Path, reference: Any) -> None:
    ours = Tokenizer.load(folder)
    for text in texts(400):
        assert ours.encode(text, begins=True) == reference(text)["input_ids"]
        assert ours.encode(text) == reference(text, add_special_tokens=False)["input_ids"]
        typed = reference(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ours.encode_typed(text) == typed
        assert ours.added_ids.isdisjoint(typed)


def test_decoded_text_equals_transformers(folder: Path, reference: Any) -> None:
    ours = Tokenizer.load(folder)
    chance = random.Random(12)
    special = sorted(ours.added_ids)
    for _ in range(300):
        ids = chance.choices(range(ours.vocabulary_size), k=8) + chance.choices(special, k=2)
        chance.shuffle(ids)
        assert ours.decode(ids) == reference.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


def test_added_tokens_equal_transformers(folder: Path) -> None:
    ours, theirs = Tokenizer.load(folder), load_processor(folder).tokenizer
    assert ours.added_ids == set(theirs.added_tokens_decoder)
    assert (ours.eos_id, ours.vocabulary_size) == (theirs.eos_token_id, len(theirs))
    assert ours.image_id == theirs.convert_tokens_to_ids("<image>")
    assert ours.id_of("no such token") is None


def with_tokenizer(nano_dir: Path, folder: Path, **changes: object) -> Path:
    tokenizer = json.loads((nano_dir / "tokenizer.json").read_text()) | changes
    return copy_checkpoint(nano_dir, folder, {"tokenizer.json": json.dumps(tokenizer)})


def with_tokenizer_config(nano_dir: Path, folder: Path, **changes: object) -> Path:
    """Return a copy of the bundled checkpoint with another `tokenizer_config.json`."""
    config = json.loads((nano_dir / "tokenizer_config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    return copy_checkpoint(nano_dir, folder, {"tokenizer_config.json": json.dumps(kept)})


def test_token_named_in_any_key_is_special(nano_dir: Path, tmp_path: Path) -> None:
    word = "the"
    flagged = {"__type": "AddedToken", "content": word, "special": True}
    plain = Tokenizer.load(nano_dir)
    token_id = plain.id_of(word)
    assert token_id is not None
    assert token_id not in plain.added_ids
    for index, changes in enumerate(
        (
            {"eos_token": word},
            {"eos_token": flagged},
            {"additional_special_tokens": [word], "extra_special_tokens": None},
            {"extra_special_tokens": {"other": word}},
            {"extra_special_tokens": [flagged]},
        )
    ):
        folder = with_tokenizer_config(nano_dir, tmp_path / str(index), **changes)
        tokenizer, theirs = Tokenizer.load(folder), load_processor(folder).tokenizer
        assert tokenizer.added_ids == set(theirs.added_tokens_decoder)
        assert tokenizer.added_ids == plain.added_ids | {token_id}
        assert tokenizer.decode([token_id]) == ""


def test_end_token_is_found_in_each_file(nano_dir: Path, tmp_path: Path) -> None:
    end = Tokenizer.load(nano_dir).id_of("<|im_end|>")
    older = json.dumps({"eos_token": {"content": "<|im_end|>"}})
    folder = copy_checkpoint(nano_dir, tmp_path / "older", {"special_tokens_map.json": older})
    assert Tokenizer.load(folder).eos_id == end
    assert load_processor(folder).tokenizer.eos_token_id == end
    assert end in stop_ids(folder, Tokenizer.load(folder))
    nameless = with_tokenizer_config(nano_dir, tmp_path / "nameless", eos_token=None)
    assert Tokenizer.load(nameless).eos_id is None


def test_truncation_and_padding_are_ignored(nano_dir: Path, tmp_path: Path) -> None:
    cut = {"max_length": 3, "strategy": "LongestFirst", "direction": "Right", "stride": 0}
    fill = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 2, "pad_type_id": 0, "pad_token": "<|im_end|>",
    }  # fmt: skip
    folder = with_tokenizer(nano_dir, tmp_path / "cut", truncation=cut, padding=fill)
    tokenizer, plain = Tokenizer.load(folder), Tokenizer.load(nano_dir)
    for text in ("a", "A long text about many things that are red."):
        assert tokenizer.encode(text) == plain.encode(text)


def processing(*pieces: str) -> dict[str, Any]:
    """Return a post-processor that puts `pieces` around a text, "A"."""
    single = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if piece == "A"
        else {"SpecialToken": {"id": piece, "type_id": 0}}
        for piece in pieces
    ]
    ids = {"<|im_start|>": 1, "<end_of_utterance>": 5}
    tokens = {word: {"id": word, "ids": [ids[word]], "tokens": [word]} for word in ids}
    pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def test_start_token_is_added_once(nano_dir: Path, tmp_path: Path) -> None:
    before = processing("<|im_start|>", "A")
    folder = with_tokenizer(nano_dir, tmp_path / "before", post_processor=before)
    ours, plain = InputBuilder.load(folder), InputBuilder.load(nano_dir)
    grid = plain.image_processor.grid_of((9, 9), "low")
    assert question_ids(ours, "Why?", grid) == (1, *question_ids(plain, "Why?", grid))


def test_tokenizer_that_appends_a_token_is_refused(nano_dir: Path, tmp_path: Path) -> None:
    behind = processing("A", "<end_of_utterance>")
    folder = with_tokenizer(nano_dir, tmp_path / "behind", post_processor=behind)
    with pytest.raises(CheckpointError, match="ends every text"):
        InputBuilder.load(folder)


def test_damaged_tokenizer_is_named(nano_dir: Path, tmp_path: Path) -> None:
    folder = with_tokenizer(nano_dir, tmp_path / "damaged", model={"type": "none such"})
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged"):
        InputBuilder.load(folder)


def test_tokenizer_without_image_tokens_is_refused(nano_dir: Path, tmp_path: Path) -> None:
    whole = (nano_dir / "tokenizer.json").read_text()
    for index, token in enumerate(("<image>", "<fake_token_around_image>")):
        changed = {"tokenizer.json": whole.replace(f'"{token}"', '"<other>"')}
        folder = copy_checkpoint(nano_dir, tmp_path / str(index), changed)
        with pytest.raises(CheckpointError, match=f"no token {token}"):
            InputBuilder.load(folder)


@pytest.mark.parametrize("count", [0, -1, 1.5, "64", None, 65])
def test_invalid_count_of_image_tokens_is_refused(
    nano_dir: Path, tmp_path: Path, count: object
) -> None:
    config = json.loads((nano_dir / "processor_config.json").read_text()) | {"image_seq_len": count}
    changed = {"processor_config.json": json.dumps(config)}
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", changed)
    with pytest.raises(CheckpointError, match="image_seq_len"):
        InputBuilder.load(folder)


def test_template_is_found_in_each_file(nano_dir: Path, tmp_path: Path) -> None:
    text = (nano_dir / "chat_template.jinja").read_text()
    expected = ChatTemplate.load(nano_dir).render(chat_messages("Why?"))
    assert expected == load_processor(nano_dir).apply_chat_template(
        chat_messages("Why?"), add_generation_prompt=True
    )
    inside = json.dumps({"chat_template": text})
    listed = [{"name": "tools", "template": "no"}, {"name": "default", "template": text}]
    processor = json.loads((nano_dir / "processor_config.json").read_text())
    tokenizer = json.loads((nano_dir / "tokenizer_config.json").read_text())
    for index, (name, content) in enumerate(
        (
            ("chat_template.json", inside),
            ("processor_config.json", json.dumps(processor | {"chat_template": text})),
            ("tokenizer_config.json", json.dumps(tokenizer | {"chat_template": text})),
            ("tokenizer_config.json", json.dumps(tokenizer | {"chat_template": listed})),
        )
    ):
        changed = {"chat_template.jinja": None, name: content}
        folder = copy_checkpoint(nano_dir, tmp_path / str(index), changed)
        assert ChatTemplate.load(folder).render(chat_messages("Why?")) == expected


def test_precedence_of_templates_equals_transformers(nano_dir: Path, tmp_path: Path) -> None:
    older = json.dumps({"chat_template": "older {{ messages[0].content[1].text }}"})
    folder = copy_checkpoint(nano_dir, tmp_path / "two", {"chat_template.json": older})
    rendered = ChatTemplate.load(folder).render(chat_messages("Why?"))
    theirs = load_processor(folder).apply_chat_template(
        chat_messages("Why?"), add_generation_prompt=True
    )
    assert rendered == theirs == "older Why?"


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}\n  {% if m.role == 'user' %}\n<image>{{ m.role }}\n  {% endif %}\n"
        "{% endfor %}\n",
        "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 5 %}{% break %}"
        "{% endif %}{{ i }}{% endfor %}",
        "{{ bos_token }}{{ messages | tojson }}{{ {'ü<': [1]} | tojson(indent=1) }}",
        "{% set ns = namespace(n=0) %}{% for m in messages[0].content %}{% set ns.n = ns.n + 1 %}"
        "{% endfor %}{{ ns.n }}",
        "{% generation %}{{ messages[0].role }}\n{% endgeneration %}\n{{ strftime_now('%') }}",
        "{% if tools is none and documents is none %}none{% endif %}{{ add_generation_prompt }}",
    ],
)
def test_rendered_templates_equal_transformers(nano_dir: Path, source: str) -> None:
    processor = load_processor(nano_dir)
    messages = chat_messages("Wo <b>?\n")
    ours = ChatTemplate(source, Tokenizer.load(nano_dir).special_tokens).render(messages)
    assert ours == processor.apply_chat_template(
        messages, chat_template=source, add_generation_prompt=True
    )


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}",
        "{{ raise_exception('only text') }}",
        "{{ messages[3].content }}",
        "{{ ''.__class__.__mro__ }}",
        "{% set ns = namespace() %}{% set ns._n = 1 %}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content[1].text }}",
        "<image>",
        "{{ messages[0].content[1].text }}<image>",
        "<image><image>{{ messages[0].content[1].text }}",
    ],
)
def test_template_without_image_and_text_is_refused(
    nano_dir: Path, tmp_path: Path, source: str
) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "odd", {"chat_template.jinja": source})
    with pytest.raises(CheckpointError, match="chat template"):
        InputBuilder.load(folder)


def test_building_inputs_imports_neither_torch_nor_transformers(nano_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from PIL import Image\n"
        "from vlm.engine.inputs import InputBuilder\n"
        "from vlm.processing.tokenizer import stop_ids\n"
        "folder = Path(sys.argv[1]); builder = InputBuilder.load(folder)\n"
        "stop_ids(folder, builder.tokenizer)\n"
        "image = Image.new('RGB', (64, 48))\n"
        "builder.image_processor.pixel_values(image, 'high')\n"
        "grid = builder.image_processor.grid_of(image.size, 'high')\n"
        "builder.chat_ids((('user', (grid, 'Why?')),))\n"
        "heavy = {'torch', 'transformers', 'openvino', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(nano_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
