"""Forms of an answer: sent in the fields of the server that takes them, or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from remote_kit import caption, engine_over, failure
from test_answer_ends import sightline_over
from upstream_server import MODEL, Exchange, UpstreamServer, upstreams

from engine_kit import chat_request
from vlm.errors import FormError, UpstreamError
from vlm.types import Form, Message, Request
from web_client import ask
from worker_kit import wait_until

CHOICE = Form("choice", json.dumps(["yes", 'no "maybe" é']))
REGEX = Form("regex", "[a-z]{3}")
SCHEMA = Form("json_schema", '{"type": "string"}')

# By what serves the model and the form.
FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("vllm", "choice"): {
        "structured_outputs": {"choice": ["yes", 'no "maybe" é']},
        "guided_choice": ["yes", 'no "maybe" é'],
    },
    ("vllm", "regex"): {"structured_outputs": {"regex": "[a-z]{3}"}, "guided_regex": "[a-z]{3}"},
    ("sightline", "choice"): {"structured_outputs": {"choice": ["yes", 'no "maybe" é']}},
    ("sightline", "regex"): {"structured_outputs": {"regex": "[a-z]{3}"}},
    ("sglang", "choice"): {"regex": 'yes|no "maybe" é'},
    ("sglang", "regex"): {"regex": "[a-z]{3}"},
    ("llamacpp", "choice"): {"grammar": r'root ::= "yes" | "no \"maybe\" é"'},
}
FORM_FIELDS = {"structured_outputs", "guided_choice", "guided_regex", "regex", "grammar"}


def asking(form: Form) -> Request:
    return chat_request((Message("user", ("Go.",)),), 16, form=form)


def answering(text: str, exchange: Exchange) -> None:
    exchange.text(text)
    exchange.finish()


def test_a_form_is_sent_in_the_servers_own_fields_or_refused_by_name() -> None:
    for owner in ("vllm", "sightline", "sglang", "llamacpp", "library", ""):
        with upstreams(1) as (server,):
            server.models = {"data": [{"id": MODEL, "owned_by": owner}]}
            server.behaviour = lambda exchange: answering("yes", exchange)
            with engine_over(server) as engine:
                for form, words in ((CHOICE, "no choice"), (REGEX, "no regular expression")):
                    expected = FIELDS.get((owner, form.kind))
                    if expected is None:
                        error = failure(engine, asking(form))
                        assert isinstance(error, FormError)
                        assert words in str(error)
                        continue
                    assert caption(engine, asking(form)).text == "yes"
                    body = server.exchanges[-1].body
                    assert {name: body[name] for name in FORM_FIELDS & set(body)} == expected
                server.behaviour = lambda exchange: answering('"A"', exchange)
                caption(engine, asking(SCHEMA))
                sent = server.exchanges[-1].body["response_format"]
                assert sent["json_schema"]["schema"] == {"type": "string"}


def test_a_form_goes_to_the_server_that_takes_it() -> None:
    with upstreams(2) as (plain, vllm):
        for server, owner in ((plain, "library"), (vllm, "vllm")):
            server.models = {"data": [{"id": MODEL, "owned_by": owner}]}
            server.behaviour = lambda exchange: answering("yes", exchange)
        with engine_over(plain, vllm) as engine:
            wait_until(lambda: all(each.healthy for each in engine.upstreams()))
            for _ in range(3):
                assert caption(engine, asking(CHOICE)).text == "yes"
            assert (len(plain.exchanges), len(vllm.exchanges)) == (0, 3)


OBJECT = chat_request((Message("user", ("Go.",)),), 16, json_object=True)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (asking(CHOICE), "perhaps"),
        (asking(CHOICE), "yes, of course"),
        (asking(SCHEMA), "A red circle."),
        (asking(SCHEMA), '{"colour": "red"'),
        (OBJECT, "A red circle."),
        (OBJECT, '["red"]'),
    ],
)
def test_an_answer_of_another_form_is_an_error(
    server: UpstreamServer, request_: Request, text: str
) -> None:
    server.models = {"data": [{"id": MODEL, "owned_by": "vllm"}]}
    server.behaviour = lambda exchange: answering(text, exchange)
    with engine_over(server) as engine:
        error = failure(engine, request_)
    assert isinstance(error, UpstreamError)
    assert "did not keep to the form of the answer" in str(error)


def test_a_form_that_the_server_lacks_is_a_bad_request(server: UpstreamServer) -> None:
    body = {"messages": [{"role": "user", "content": "Go."}], "guided_regex": "[a-z]{3}"}
    headers = {"Content-Type": "application/json"}
    with sightline_over(server) as port:
        data = json.dumps(body).encode()
        status, _, answer = ask(port, "POST", "/v1/chat/completions", data, headers)
    error = json.loads(answer)["error"]
    assert (status, error["param"]) == (400, "response_format")
    assert "no regular expression" in error["message"]
    assert server.exchanges == []
