"""JSON ends: schemas are made narrower, and what repeats itself in an answer is closed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from engine_kit import with_task
from vlm.engine.engine import Engine
from vlm.engine.grammars import Grammars, check_form
from vlm.engine.inputs import InputBuilder
from vlm.engine.json_ends import ClosingTokens, RepetitionEnd
from vlm.engine.sampling import Sampler
from vlm.engine.schemas import narrowed
from vlm.types import Form, Request, Sampling

LIMIT = 400
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


BOUNDS = {"minimum": -(2**53 - 1), "maximum": 2**53 - 1}
CLOSED = {"additionalProperties": False}
NARROWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (an_object(a=TEXT), {**an_object(a=TEXT), **CLOSED}),
    (an_object(a=INTEGER), {**an_object(a={**INTEGER, **BOUNDS}), **CLOSED}),
    ({"items": an_object()}, {"items": {**an_object(), **CLOSED}}),
    ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": 0,
                                                 "maximum": 2**53 - 1}),
    ({"type": ["integer", "null"]}, {"type": ["integer", "null"], **BOUNDS}),
]  # fmt: skip
KEPT: list[dict[str, Any]] = [
    {"type": "object"},
    {**an_object(a=TEXT), "additionalProperties": True},
    {**an_object(a=TEXT), "patternProperties": {"^x": TEXT}},
    {**an_object(a=TEXT), "required": ["a", "b"]},
    {**an_object(a=TEXT), "minProperties": 2},
    {"allOf": [an_object(a=TEXT), an_object(b=TEXT)]},
    {**an_object(a=TEXT), "anyOf": [an_object(b=TEXT), an_object(c=TEXT)]},
    {"const": an_object(a=INTEGER)},
    {"type": "integer", "minimum": 2**60},
    {"type": "integer", "enum": [1, 2]},
]


def test_schemas_are_made_narrower_where_that_is_safe() -> None:
    for schema, expected in NARROWED:
        assert narrowed(schema) == expected, schema
        assert check_form(Form("json_schema", json.dumps(schema))) == ()
    for schema in KEPT:
        assert narrowed(schema) == schema, schema


ENDLESS: list[dict[str, Any]] = [
    an_object(description=TEXT, colour=TEXT),
    an_object(name=TEXT, inner=an_object(a=TEXT, b={"type": "number"})),
    an_object(count=INTEGER, size={"type": "number"}),
    an_object(objects={"type": "array", "items": TEXT}, count=INTEGER),
    an_object(objects={"type": "array", "items": an_object(name=TEXT, x={"type": "number"})}),
    an_object(texts={"type": "array", "items": TEXT}, more={"additionalProperties": TEXT}),
    {"type": "object"},
    {},
]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.3, seed=1)])
def test_an_answer_without_bounds_ends_and_fits_its_schema(
    engine: Engine, frames: list[Image.Image], sampling: Sampling
) -> None:
    for schema in ENDLESS:
        for frame in frames[:2]:
            form = Form("json_schema", json.dumps(schema))
            plain = Request.about(frame, "What do you see?", LIMIT)
            asked = with_task(plain, form=form, sampling=sampling, stop_loops=True)
            result = engine.run(asked)
            assert result.finish_reason == "stop", (schema, result.text)
            Draft202012Validator(schema).validate(json.loads(result.text))


def test_without_the_option_a_text_fills_its_limit(engine: Engine) -> None:
    dark = Image.new("RGB", (64, 64))
    form = Form("json_schema", json.dumps(an_object(colour=TEXT, description=TEXT)))
    asked = with_task(Request.about(dark, "What do you see?", LIMIT), form=form)
    closed = engine.run(with_task(asked, stop_loops=True))
    assert (closed.finish_reason, list(json.loads(closed.text))) == (
        "stop",
        ["colour", "description"],
    )
    assert engine.run(asked).finish_reason == "length"


def test_what_a_model_never_closes_itself_is_closed(nano_dir: Path, stops: frozenset[int]) -> None:
    """The model: the same logits after each token, with the lowest ones for what closes."""
    tokenizer = InputBuilder.load(nano_dir).tokenizer
    grammars = Grammars(tokenizer.to_json(), stops)
    closing = ClosingTokens(tokenizer.bytes_of, tokenizer.vocabulary_size)
    logits = np.random.default_rng(1).normal(size=tokenizer.vocabulary_size)
    for token_id in range(tokenizer.vocabulary_size):
        if any(byte in b'"]}' for byte in tokenizer.bytes_of(token_id)):
            logits[token_id] = -100
    many: dict[str, Any] = {"type": "array", "items": {"const": "ab"}, "maxItems": 10_000}
    for schema, begun in (
        (many, ""),
        ({**many, "minItems": 90}, ""),
        ({"type": "array", "items": an_object(a={"const": 1})}, ""),
        ({"type": "object", "additionalProperties": {"const": 1}}, ""),
        ({"type": "array", "items": TEXT}, ""),
        ({"type": "object", "additionalProperties": TEXT}, ""),
        (TEXT, ""),
        (TEXT, '"It is \\\\'),
        (an_object(a={"type": "array", "items": {"const": 7}}, b=TEXT), '{"a": [7, '),
    ):
        processors = (
            grammars.for_one_answer(Form("json_schema", json.dumps(schema)), begun),
            RepetitionEnd(closing, begun.encode()),
        )
        sampler = Sampler(Sampling(), processors=processors)
        ids: list[int] = []
        while not sampler.is_over(ids) and len(ids) < 2_000:
            token = sampler.pick(ids, logits).id
            if token in stops:
                break
            ids.append(token)
        answer = json.loads(begun + tokenizer.decode(ids))
        Draft202012Validator(schema).validate(answer)
        assert len(ids) < 800, (schema, len(ids))
