"""The APIs of other programs that are served here: which paths belong to them, and near misses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Family = Literal["own", "openai", "ollama"]

PROPS_PATH: Final = "/props"
# Of OpenAI's API, below /v1.
_OPENAI: Final = (
    "chat/completions",
    "completions",
    "embeddings",
    "models",
    "rerank",
    "responses",
)
# Of Ollama's API, below /api. No route of ours has such a name.
_OLLAMA: Final = frozenset(
    {
        "blobs",
        "chat",
        "copy",
        "create",
        "delete",
        "embed",
        "embeddings",
        "generate",
        "ps",
        "pull",
        "push",
        "show",
        "tags",
        "version",
    }
)
# What people write at the end of a base URL, and a client's own path repeats or lacks.
_PREFIXES: Final = frozenset({"api", "ollama", "openai", "v1"})


def family_of(path: str) -> Family:
    """Return whose API `path` belongs to; `/props`, llama.cpp's, goes with OpenAI's."""
    path = canonical_path(path)
    if path in ("/v1", PROPS_PATH) or path.startswith(("/v1/", "/api/v1/")):
        return "openai"
    start, _, rest = path[1:].partition("/")
    return "ollama" if start == "api" and rest.partition("/")[0] in _OLLAMA else "own"


def canonical_path(path: str) -> str:
    """Return the path of a route whose address `path` misses in a plain way, else `path`.

    `/chat/completions`, `/v1/v1/chat/completions/`, `/api/v1/models` and `/api/chat/completions`
    mean OpenAI's API, `/v1/api/chat` and `/ollama/api/tags/` Ollama's.
    """
    steps = [step for step in path.split("/") if step]
    count = next((n for n, step in enumerate(steps) if step not in _PREFIXES), len(steps))
    prefixes, rest = steps[:count], "/".join(steps[count:])
    if rest == PROPS_PATH[1:]:
        return PROPS_PATH
    is_v1 = prefixes[-1:] != ["api"]
    if "api" in prefixes and not is_v1 and rest.startswith("models/"):
        # Our own routes.
        return path
    is_openai = any(rest == name or rest.startswith(f"{name}/") for name in _OPENAI)
    if is_openai and (is_v1 or rest != "embeddings"):
        return f"/v1/{rest}"
    if not is_v1 and rest.partition("/")[0] in _OLLAMA:
        return f"/api/{rest}"
    return path


class NearMisses:
    """A WSGI application around another one, which sees canonical paths only."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = canonical_path(environ["PATH_INFO"])
        return self._app(environ, start_response)
