"""The layers keep their direction: who imports what, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    file
    for folder in ("vlm", "routes")
    for file in sorted((ROOT / folder).rglob("*.py"))
] + sorted(ROOT.glob("*.py"))  # fmt: skip
NAMES = [str(file.relative_to(ROOT).as_posix()) for file in SOURCES]


def imports_of(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def packages_of(name: str) -> set[str]:
    return {module.partition(".")[0] for module in imports_of(name)}


def test_there_is_something_to_check() -> None:
    assert {"app.py", "vlm/engine.py", "vlm/worker.py", "vlm/images.py"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_model_packages_are_imported_where_models_are(name: str) -> None:
    if name.startswith(("vlm/runtimes/", "vlm/nano/")):
        return
    # What is loaded, or made up, is transformers' model; it writes torch's tensors. The hub's rooms
    # fetch through huggingface_hub. The bench times other ways than ours, and those are torch's.
    allowed = {
        "vlm/checkpoint_loading.py": {"transformers"},
        "vlm/checkpoint_random.py": {"safetensors", "torch", "transformers"},
        "vlm/hub_blobs.py": {"huggingface_hub"},
        "vlm/hub_cache.py": {"huggingface_hub"},
        "vlm/hub_failures.py": {"huggingface_hub"},
        "vlm/hub_requests.py": {"huggingface_hub"},
        "vlm/processing/tokenizer.py": {"tokenizers"},
        "vlm/bench/references.py": {"torch"},
    }.get(name, set())
    model_packages = {
        "accelerate", "huggingface_hub", "openvino", "safetensors", "tokenizers", "torch",
        "transformers",
    }  # fmt: skip
    assert packages_of(name).isdisjoint(model_packages - allowed)


@pytest.mark.parametrize("name", NAMES)
def test_the_web_framework_is_imported_on_the_web_side(name: str) -> None:
    if name in ("app.py", "serving.py") or name.startswith("routes/"):
        return
    assert packages_of(name).isdisjoint({"flask", "waitress", "werkzeug"})


@pytest.mark.parametrize("name", NAMES)
def test_the_package_never_imports_the_web_side(name: str) -> None:
    if name.startswith("vlm/"):
        assert packages_of(name).isdisjoint({"app", "routes", "serving"})


@pytest.mark.parametrize("name", NAMES)
def test_other_machines_are_asked_where_models_are_fetched_or_run(name: str) -> None:
    if not name.startswith(("vlm/remote/", "vlm/hub")):
        assert packages_of(name).isdisjoint({"anyio", "httpx2"})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_keeps_a_database(name: str) -> None:
    assert "sqlite3" not in packages_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_runtimes_are_reached_through_the_engine(name: str) -> None:
    if name == "vlm/engine.py" or name.startswith(("vlm/runtimes/", "vlm/nano/")):
        return
    runtimes = {each for each in imports_of(name) if each.startswith("vlm.runtimes")}
    values = {"vlm.runtimes.fit", "vlm.runtimes.fit.Fit"}
    assert {each for each in runtimes if not each.startswith("vlm.runtimes.base")} <= values


def test_the_web_side_starts_without_what_takes_long_to_import() -> None:
    code = (
        "import sys, app, vlm.engine, vlm.worker, vlm.bench.__main__\n"
        "late = {'torch', 'transformers', 'openvino', 'accelerate', 'pydantic'}\n"
        "heavy = late & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
