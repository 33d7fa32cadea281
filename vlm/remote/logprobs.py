"""Log probabilities of tokens as OpenAI's chat API sends them."""

from __future__ import annotations

import math

from vlm.remote.chunks import valid_text
from vlm.remote.failures import fail
from vlm.results import TokenLogprob


def read_logprobs(value: object) -> list[TokenLogprob]:
    """Return the tokens in the `logprobs` of a choice; raise UpstreamFailure."""
    content = value.get("content") if isinstance(value, dict) else None
    if content is None:
        return []
    if not isinstance(content, list):
        fail("sends invalid logprobs.")
    return [_logprob(each) for each in content]


def _logprob(value: object, is_top: bool = False) -> TokenLogprob:
    if not isinstance(value, dict):
        fail("sends invalid logprobs.")
    token, data = value.get("token"), value.get("bytes")
    top = [] if is_top else value.get("top_logprobs") or []
    if not isinstance(token, str) or not isinstance(top, list):
        fail("sends invalid logprobs.")
    token = valid_text(token)
    try:
        token_bytes = bytes(data) if isinstance(data, list) else token.encode()
        logprob = float(value.get("logprob"))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        fail("sends invalid logprobs.")
    if not math.isfinite(logprob):
        fail("sends invalid logprobs.")
    return TokenLogprob(token, token_bytes, logprob, tuple(_logprob(one, True) for one in top))
