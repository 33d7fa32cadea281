"""The same bytes get the same caption, whether they come as the body or in a form of any client."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import requests

from many_pictures import FIELDS, QUICK, SLOW, Send, assert_same, line_ends, noise, photographs
from web_client import HANG_GUARD_S, SightlineProcess


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    # Without the object finder, so that the captions of noise differ and come quickly.
    with SightlineProcess(("--model", "nano", "--detector", "none")) as process:
        process.wait_until_ready()
        yield process.port


@pytest.fixture(params=["requests", "httpx2", "curl"])
def send(request: pytest.FixtureRequest, port: int, tmp_path: Path) -> Iterator[Send]:
    """`send(picture)` sends it as a form and returns the body of the answer."""
    url = f"http://127.0.0.1:{port}/api/captions"
    if request.param == "requests":
        with requests.Session() as session:
            # Not by way of a proxy that the environment may name.
            session.trust_env = False
            yield lambda data: session.post(url, FIELDS, files=_files(data)).text
    elif request.param == "httpx2":
        with httpx2.Client(trust_env=False, timeout=HANG_GUARD_S) as client:
            yield lambda data: client.post(url, data=FIELDS, files=_files(data)).text
    else:
        program = shutil.which("curl")
        if program is None:
            pytest.skip("needs curl, which is not on the PATH")
        yield lambda data: _send_by_curl(program, url, tmp_path / "picture", data)


def _files(data: bytes) -> dict[str, tuple[str, io.BytesIO]]:
    return {"image": ("picture", io.BytesIO(data))}


def _send_by_curl(program: str, url: str, file: Path, data: bytes) -> str:
    file.write_bytes(data)
    fields = [each for name in FIELDS for each in ("-F", f"{name}={FIELDS[name]}")]
    # -q: without a person's own settings.
    command = [program, "-q", "-sS", "--noproxy", "*", *fields, "-F", f"image=@{file}", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("count", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
class TestEachPictureGetsItsCaption:
    """Quick with 66 pictures, slow with 2,001, of each client."""

    def test_photographs(self, port: int, send: Send, shared_dir: Path, count: int) -> None:
        assert_same(port, send, photographs(shared_dir / "photos", count))

    def test_noise(self, port: int, send: Send, count: int) -> None:
        assert_same(port, send, noise(count))

    def test_line_ends_near_the_ends_of_pieces(self, port: int, send: Send, count: int) -> None:
        assert_same(port, send, line_ends(count))
