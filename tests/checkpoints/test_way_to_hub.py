"""Laws of the way to the hub: proxies, tokens, certificates, other hosts, and pages in between."""

from __future__ import annotations

import gc
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import trustme
from fetcher import HUB_ID, TOKEN, Fetcher
from huggingface_hub import constants

from hub_server import Fault, HubServer
from proxy_servers import HttpProxy, OtherServer, SocksProxy
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.errors import FetchError

# A name that only a proxy of the test can resolve.
FAR = "http://hub.invalid"
LOGIN = ("person", "pass:w@rd/1")
LOGIN_IN_URL = "person:pass%3Aw%40rd%2F1@"


def refusal(fetcher: Fetcher, **changes: object) -> str:
    """Return the message of a download that fails; it has no secret, and nothing is whole."""
    with pytest.raises(FetchError) as raised:
        fetcher(**changes)
    message = str(raised.value)
    for secret in (TOKEN, "w%40rd", "w@rd", "://", str(fetcher.cache), "site-packages", "httpx"):
        assert secret not in message
    assert message.endswith(".")
    assert fetcher.complete() is None
    return message


# -- proxies --


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:{port}", SocksProxy),
        ("HTTP_PROXY", "socks5h://127.0.0.1:{port}", SocksProxy),
        ("all_proxy", "socks://127.0.0.1:{port}/", SocksProxy),
        ("http_proxy", "SOCKS5://{login}127.0.0.1:{port}", SocksProxy),
        ("HTTP_PROXY", "http://{login}127.0.0.1:{port}", HttpProxy),
        ("http_proxy", "127.0.0.1:{port}", HttpProxy),
    ],
)
def test_each_kind_of_proxy_leads_to_the_hub(
    fetcher: Fetcher,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    kind: type[SocksProxy] | type[HttpProxy],
) -> None:
    with kind(fetcher.hub.port, LOGIN if "{login}" in value else None) as proxy:
        monkeypatch.setenv(variable, value.format(port=proxy.port, login=LOGIN_IN_URL))
        assert fetcher(endpoint=FAR) == fetcher.complete()
        assert {"hub.invalid", "localhost"} <= {each.partition(":")[0] for each in proxy.hosts}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks4://proxy:1080", "is of the kind socks4, .*begin with http, https or socks5"),
        ("quic://name:s3cret@proxy", "is of the kind quic"),
        ("s3cret!!://proxy", "is of the kind unknown"),
        ("http://", "is not the address of a proxy"),
        ("http://proxy:port", "is not the address of a proxy"),
        ("proxy:99999", "is not the address of a proxy"),
        ("proxy:0", "is not the address of a proxy"),
        ("http://pro xy:80", "is not the address of a proxy"),
        ("http://name:s3cret#@proxy:80", "is not the address of a proxy.*# as %23"),
        ("socks5://[::1", "is not the address of a proxy"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    message = refusal(fetcher)
    assert re.search(f"in {variable} {words}", message)
    assert "s3cret" not in message
    assert fetcher.hub.requests == []


def having(
    kind: type[SocksProxy] | type[HttpProxy] | type[OtherServer], **attributes: object
) -> Callable[[int], Any]:
    """Return a maker of `kind` with `attributes`."""

    def make(port: int) -> Any:
        proxy = kind(port)
        for name, value in attributes.items():
            setattr(proxy, name, value)
        return proxy

    return make


class ClosedPort:
    """Nothing listens on `port`."""

    def __init__(self, _: int) -> None:
        self._bound = socket.socket()
        self._bound.bind(("127.0.0.1", 0))
        self.port = self._bound.getsockname()[1]

    def __enter__(self) -> ClosedPort:
        return self

    def __exit__(self, *_: object) -> None:
        self._bound.close()


def demanding_login(kind: type[SocksProxy] | type[HttpProxy]) -> Callable[[int], Any]:
    return lambda port: kind(port, LOGIN)


PROXY_FAULTS = [
    ("socks5://", demanding_login(SocksProxy), "demands a login"),
    ("socks5://person:wrong@", demanding_login(SocksProxy), "demands a login"),
    ("http://", demanding_login(HttpProxy), "demands a login"),
    ("http://person:wrong@", demanding_login(HttpProxy), "demands a login"),
    ("socks5://", having(SocksProxy, reply=2), "does not allow this host"),
    ("socks5://", having(SocksProxy, reply=1), "cannot reach the host"),
    ("socks5://", having(SocksProxy, reply=4), "cannot reach the host"),
    ("socks5://", having(SocksProxy, reply=5), "cannot reach the host"),
    ("http://", having(HttpProxy, status=403), "does not allow this host"),
    ("http://", having(HttpProxy, status=502), "cannot reach the host"),
    ("http://", having(HttpProxy, status=503), "cannot reach the host"),
    ("http://", having(HttpProxy, status=400), "does not serve https"),
    ("socks5://", OtherServer, "does not speak SOCKS5"),
    ("socks5://", having(OtherServer, answer=b""), "does not speak SOCKS5"),
    ("socks5://", having(OtherServer, answer=b"\5\7"), "does not speak SOCKS5"),
    ("https://", OtherServer, "does not speak TLS"),
    ("socks5://", ClosedPort, "cannot be reached"),
    ("http://", ClosedPort, "cannot be reached"),
]


# httpcore2 leaves the socket to a SOCKS proxy that refuses to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(("scheme", "make", "words"), PROXY_FAULTS)
def test_a_proxy_that_fails_is_named_by_its_variable(
    fetcher: Fetcher,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    make: Callable[[int], AbstractContextManager[Any]],
    words: str,
) -> None:
    with make(fetcher.hub.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}127.0.0.1:{proxy.port}")
        message = refusal(fetcher, endpoint="https://hub.invalid")
    assert f"The proxy in HTTPS_PROXY {words}" in message
    assert fetcher.hub.requests == []
    gc.collect()


@pytest.mark.parametrize(
    ("exempt", "is_exempt"),
    [
        ("127.0.0.1,localhost", True),
        ("*", True),
        ("127.0.0.0/8, localhost", True),
        ("example.org,10.0.0.0/8", False),
        ("", False),
    ],
)
def test_an_exempt_host_is_reached_without_the_proxy(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, exempt: str, is_exempt: bool
) -> None:
    with ClosedPort(0) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", exempt)
        if is_exempt:
            assert fetcher() == fetcher.complete()
        else:
            assert "The proxy in ALL_PROXY cannot be reached" in refusal(fetcher)


def test_exemptions_and_proxies_for_another_scheme_are_no_proxy(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with ClosedPort(0) as closed:
        message = refusal(fetcher, endpoint=f"http://127.0.0.1:{closed.port}")
    assert message.startswith("The hub cannot be reached. Check the network")
    assert "proxy" not in message.lower()


# -- tokens --


@pytest.mark.parametrize(
    ("place", "token", "words"),
    [
        ("HF_TOKEN", TOKEN, "in HF_TOKEN is out of date: the hub refuses it (401)"),
        ("HUGGING_FACE_HUB_TOKEN", TOKEN, "in HUGGING_FACE_HUB_TOKEN is out of date"),
        ("file", TOKEN, "The stored access token is out of date"),
        ("HF_TOKEN", "hf_\u2026", "in HF_TOKEN cannot be one"),
        ("HF_TOKEN", "Bearer hf_x", "in HF_TOKEN cannot be one"),
        ("file", "\udcff", "The stored access token cannot be one"),
    ],
)
def test_a_useless_token_is_left_out_for_a_public_model(
    fetcher: Fetcher,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    token: str,
    words: str,
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "token"
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(file))
    if place == "file":
        file.write_bytes(token.encode("utf-8", "surrogateescape"))
    else:
        monkeypatch.setenv(place, token)
    fetcher.hub.accepted_token = "another"
    assert fetcher() == fetcher.complete()
    notes = {each.note for each in fetcher.progress}
    assert any(words in note and "so none is sent" in note for note in notes)
    assert len([each for each in fetcher.hub.requests if each.status == 401]) <= 1


def test_a_private_model_still_needs_a_login(fetcher: Fetcher) -> None:
    fetcher.hub.faults.append(Fault("/api/models/", status=401))
    assert "token is no longer valid" in refusal(fetcher)
    assert len(fetcher.hub.requests) == 2


# -- other hosts, and pages in between --


def test_the_host_that_failed_is_named_if_it_is_not_the_hub(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "A firewall must allow localhost as well as the hub."
    faults = [
        (Fault("/cdn/", cut_after_bytes=0), "The connection to localhost, where the hub keeps the"),
        (Fault("/cdn/", status=403), "Localhost, where the hub keeps the weights, refused with"),
        (Fault("/cdn/", status=200, body=b"<html>Blocked</html>"), "other than the hub answered"),
    ]
    for fault, words in faults:
        fetcher.hub.faults[:] = [fault]
        message = refusal(fetcher)
        assert words in message
        assert message.endswith(advice)
    fetcher.hub.faults.clear()
    with ClosedPort(0) as closed:
        monkeypatch.setattr(fetcher.hub, "other_origin", f"http://localhost:{closed.port}")
        message = refusal(fetcher)
        assert "where the hub keeps the weights, cannot be reached" in message
        assert message.endswith(advice)
    monkeypatch.setattr(fetcher.hub, "other_origin", "http://weights.invalid")
    message = refusal(fetcher)
    assert "The name of weights.invalid, where the hub keeps the weights, cannot be" in message


PAGE = b"<!DOCTYPE html><title>Blocked</title>" + b"x" * 4000
HTML = {"Content-Type": "text/html; charset=utf-8"}


def of_length(length: int, content: bytes = PAGE) -> bytes:
    return (content * (length // len(content) + 1))[:length]


# Status, headers and body in place of the rest of the weights, of `size` bytes from `first` on.
OTHER_CONTENT: list[Callable[[int, int], tuple[int, dict[str, str], bytes]]] = [
    lambda size, first: (200, HTML, PAGE),
    lambda size, first: (200, {}, PAGE),
    lambda size, first: (200, {}, b"\xef\xbb\xbf\n <HTML>" + PAGE),
    lambda size, first: (200, {}, of_length(size)),
    lambda size, first: (200, {"Content-Type": "text/plain"}, b"Blocked by the policy."),
    lambda size, first: (200, {"Content-Type": "application/json"}, b'{"error": "policy"}'),
    lambda size, first: (200, {}, of_length(size + 1)),
    lambda size, first: (200, {"Content-Type": "application/octet-stream"}, bytes(size)),
    lambda size, first: (203, HTML, of_length(size)),
    lambda size, first: (206, {}, bytes(size - first)),
    lambda size, first: (206, {"Content-Range": "bytes 0-9/10"}, bytes(10)),
    lambda size, first: (
        206,
        {"Content-Range": f"bytes {first + 1}-{size - 1}/{size}"},
        bytes(size - first - 1),
    ),
    lambda size, first: (
        206,
        HTML | {"Content-Range": f"bytes {first}-{size - 1}/{size}"},
        of_length(size - first),
    ),
    lambda size, first: (206, {"Content-Type": "multipart/byteranges; boundary=x"}, PAGE),
]


@pytest.mark.parametrize("received", [0, 3_000_000])
def test_what_is_not_the_rest_of_the_weights_is_never_written(
    fetcher: Fetcher, nano_dir: Path, received: int
) -> None:
    weights = (nano_dir / WEIGHTS_FILE).read_bytes()
    if received:
        fetcher.hub.faults += [
            Fault(cut_after_bytes=received, times=1),
            Fault("/cdn/", status=404, spared=1),
        ]
        refusal(fetcher)
    for make in OTHER_CONTENT:
        status, headers, body = make(len(weights), received)
        fetcher.hub.faults[:] = [Fault("/cdn/", status=status, headers=headers, body=body)]
        message = refusal(fetcher)
        assert "Something other than the hub answered" in message, (status, headers, body[:20])
        kept = b"".join(each.read_bytes() for each in fetcher.incomplete())
        assert kept == weights[:received], (status, headers, body[:20])
    fetcher.hub.faults.clear()
    fetcher.hub.requests.clear()
    assert fetcher() == fetcher.complete()
    assert fetcher.weights_first_bytes() == [received]


# -- certificates --


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(
    clean_network: None, fetcher: Fetcher, repository: Path
) -> Iterator[Callable[..., Fetcher]]:
    """`secure(authority, *names, ...)` is a Fetcher over a hub with that certificate."""
    with ExitStack() as stack:

        def make(authority: trustme.CA, *names: str, **validity: datetime) -> Fetcher:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate = authority.issue_cert(*names or ("127.0.0.1", "localhost"), **validity)
            certificate.configure_cert(tls)
            hub = stack.enter_context(HubServer({HUB_ID: repository}, tls))
            return Fetcher(hub, fetcher.cache)

        yield make


def test_certificates_of_each_variable_are_trusted(
    secure: Callable[..., Fetcher],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    over_tls = secure(authority)
    file = tmp_path / "corporate.pem"
    authority.cert_pem.write_to_path(file)
    folder = tmp_path / "certificates"
    folder.mkdir()
    # Found by the hash of its subject; OpenSSL's own tool gives this name.
    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(file)]
    subject = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    authority.cert_pem.write_to_path(folder / f"{subject}.0")
    for variable, value in (
        ("SSL_CERT_FILE", file),
        ("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{folder}"),
        ("REQUESTS_CA_BUNDLE", file),
        ("REQUESTS_CA_BUNDLE", folder),
        ("CURL_CA_BUNDLE", file),
    ):
        huggingface_hub.close_session()
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(value))
            over_tls.hub.requests.clear()
            assert over_tls() == over_tls.complete(), variable
    huggingface_hub.close_session()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(file))
    with pytest.raises(FetchError, match="SSL_CERT_FILE"):
        over_tls()


NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("names", "validity", "words"),
    [
        ((), {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}, "has expired: this machine's"),
        ((), {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY}, "is not valid yet: this mach"),
        (("login.hotel.example",), {}, "is for another name.*login page"),
        (("10.0.0.1",), {}, "is for another name.*login page"),
    ],
)
def test_a_refused_certificate_says_why(
    secure: Callable[..., Fetcher],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    names: tuple[str, ...],
    validity: dict[str, datetime],
    words: str,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    message = refusal(secure(authority, *names, **validity))
    assert re.search(f"The hub's certificate {words}", message)


def test_an_unknown_issuer_says_which_variable_takes_its_certificate(
    secure: Callable[..., Fetcher],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    over_tls = secure(authority)
    issuer = "The hub's certificate has an issuer that is not trusted here"
    message = refusal(over_tls)
    assert issuer in message
    assert "Set SSL_CERT_FILE to a file with that issuer's certificate, as PEM" in message
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for variable in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        huggingface_hub.close_session()
        monkeypatch.setenv(variable, str(tmp_path / "other.pem"))
        cure = f"Add that issuer's certificate, as PEM, to what {variable} names"
        assert cure in refusal(over_tls)


def test_a_file_of_certificates_that_cannot_be_used_is_named(
    secure: Callable[..., Fetcher],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    over_tls = secure(authority)
    pem = authority.cert_pem.bytes()
    files = {
        "der.crt": (ssl.PEM_cert_to_DER_cert(pem.decode()), "DER form.*openssl x509 -inform der"),
        "empty.pem": (b"", "holds no certificate in PEM form"),
        "page.pem": (b"<html>", "holds no certificate in PEM form"),
        "torn.pem": (pem[:200], "holds a damaged certificate"),
    }
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            for name, (content, words) in files.items():
                (tmp_path / name).write_bytes(content)
                huggingface_hub.close_session()
                patch.setenv(variable, str(tmp_path / name))
                assert re.search(f"{variable} names {name}, which .*{words}", refusal(over_tls))
            huggingface_hub.close_session()
            patch.setenv(variable, str(tmp_path / "gone.pem"))
            assert f"{variable} names gone.pem, which does not exist" in refusal(over_tls)
