"""Servers with https: the certificates that are trusted, and why one is not."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from remote_kit import LIMITS, caption, engine_over
from upstream_server import TEXT, UpstreamServer

from vlm.errors import ModelFailedError
from vlm.network.certificates import CERTIFICATE_VARIABLES, CertificateFileError
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from worker_kit import GUARD_S

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def certificate_file(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The authority's certificate; no variable names any."""
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    yield tmp_path / "authority.pem"


def tls_of(authority: trustme.CA, name: str = "127.0.0.1", **validity: datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


def words_while_waiting(server: UpstreamServer) -> str:
    """Return what an engine over `server` says while it waits for it."""
    engine = RemoteEngine(Settings(engine="openai", base_url=(server.base_url,)), LIMITS)
    words: list[str] = []
    heard = threading.Event()

    def on_progress(progress: str) -> None:
        words.append(progress)
        if progress:
            heard.set()

    def run() -> None:
        with pytest.raises(ModelFailedError):
            engine.open(on_progress)

    thread = threading.Thread(target=run)
    thread.start()
    assert heard.wait(GUARD_S)
    engine.stop_waiting()
    thread.join(GUARD_S)
    return words[-1]


def test_certificates_of_a_variable_are_trusted(
    authority: trustme.CA, certificate_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = UpstreamServer(tls=tls_of(authority))
    try:
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            with monkeypatch.context() as patch:
                patch.setenv(variable, str(certificate_file))
                with engine_over(server) as engine:
                    assert caption(engine).text == TEXT
    finally:
        server.close()


@pytest.mark.parametrize(
    ("name", "validity", "is_trusted", "words"),
    [
        ("127.0.0.1", {}, False, "has an issuer that is not trusted here.*Set SSL_CERT_FILE"),
        ("10.0.0.5", {}, True, "is for another name"),
        (
            "127.0.0.1",
            {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY},
            True,
            "has expired: this machine's clock says",
        ),
        (
            "127.0.0.1",
            {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY},
            True,
            "is not valid yet: this machine's clock says",
        ),
    ],
)
def test_a_refused_certificate_says_why(
    authority: trustme.CA,
    certificate_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    validity: dict[str, datetime],
    is_trusted: bool,
    words: str,
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate_file))
    server = UpstreamServer(tls=tls_of(authority, name, **validity))
    try:
        heard = words_while_waiting(server)
    finally:
        server.close()
    assert re.search(f"{server.origin} cannot be reached: its certificate {words}", heard)


def test_a_file_of_certificates_that_cannot_be_used_ends_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.devnull)
    engine = RemoteEngine(Settings(engine="openai", base_url=("https://127.0.0.1:9/v1",)))
    with pytest.raises(CertificateFileError, match="REQUESTS_CA_BUNDLE names null"):
        engine.open(lambda _: None)
