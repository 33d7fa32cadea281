"""The form of an answer: JSON of a schema, or what another field demands, checked in advance."""

from __future__ import annotations

import json
from typing import Any

from vlm.engine.grammars import check_form
from vlm.errors import FormError
from vlm.types import Form
from web.errors import FieldError


def form_of_schema(schema: dict[str, Any]) -> Form:
    """Return the form of an answer that is JSON of `schema`."""
    return Form("json_schema", json.dumps(schema))


def broken_keywords(form: Form, param: str) -> list[str]:
    """Return the paths of keywords of `form` that answers may break.

    Raise FieldError for the field `param` if answers cannot have this form.
    """
    try:
        return [f"{param}.{keyword}" for keyword in check_form(form)]
    except FormError as error:
        raise FieldError(f"`{param}` is refused. {error}", param) from None
