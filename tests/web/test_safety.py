"""Pages of other sites cannot use this server: checks of Host, Origin and Fetch Metadata."""

from __future__ import annotations

import socket

import pytest
from flask import Flask
from flask.testing import FlaskClient

from web.access import HostPolicy
from web_client import JPEG, picture


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


def test_loopback_names_are_allowed_on_any_port() -> None:
    hosts = [
        "localhost",
        "localhost:8000",
        "LocalHost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "127.0.0.1:9",
    ]
    policy = HostPolicy("127.0.0.1")
    assert [host for host in hosts if not policy.allows(host)] == []


def test_other_host_names_are_refused() -> None:
    hosts = [
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "localhost:8000.evil.example",
        "localhost:",
        "localhost:port",
        "localhost@evil.example",
        "evil.example, localhost",
        "192.168.1.5:8000",
        "0.0.0.0:8000",
        "[::2]:8000",
        "localhost/",
        "127.1",
        "2130706433",
        "local host",
        "localhost.",
    ]
    policy = HostPolicy("127.0.0.1")
    assert [host for host in hosts if policy.allows(host)] == []


def test_the_bound_address_is_allowed_and_its_neighbour_is_not() -> None:
    policy = HostPolicy("192.168.1.5")
    assert policy.allows("192.168.1.5:8000")
    assert policy.allows("localhost:8000")
    assert not policy.allows("192.168.1.6:8000")
    assert HostPolicy("fe80::1").allows("[fe80::1]:8000")
    assert HostPolicy("Studio.lan").allows("studio.lan:8000")


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_wildcard_bind_allows_addresses_but_no_foreign_name(wildcard: str) -> None:
    policy = HostPolicy(wildcard)
    assert policy.allows("192.168.1.5:8000")
    assert policy.allows("[fe80::1]:8000")
    assert policy.allows(f"{socket.gethostname()}:8000")
    for name in (
        "cam.localhost",
        "studio.local",
        "a.b.internal",
        "nas.lan",
        "x.home.arpa",
        "m.t.ts.net",
    ):
        assert policy.allows(f"{name}:8000")
        assert not HostPolicy("192.168.1.5").allows(name)
    for name in (
        "evil.example",
        "2130706433",
        "local",
        ".local",
        "a..local",
        "local.evil.example",
        "evil.example.",
        "notlocal",
        "evilts.net",
        "ts.net",
    ):
        assert not policy.allows(f"{name}:8000"), name


def test_allowed_names_and_the_names_under_allowed_suffixes_are_answered() -> None:
    policy = HostPolicy("127.0.0.1", ("cam.example.org", ".sub.example.org", "192.168.1.9"))
    for name in ("cam.example.org", "CAM.example.org", "a.sub.example.org", "a.b.sub.example.org"):
        assert policy.allows(f"{name}:443"), name
    assert policy.allows("192.168.1.9")
    for name in (
        "example.org",
        "x.cam.example.org",
        "sub.example.org",
        "evilsub.example.org",
        "a.sub.example.org.evil.example",
        "192.168.1.8",
        "studio.local",
    ):
        assert not policy.allows(name), name


def test_the_usual_port_in_a_host_is_the_same_origin(client: FlaskClient) -> None:
    for scheme, port in (("http", 80), ("https", 443)):
        headers = {"Host": f"localhost:{port}", "Origin": f"{scheme}://localhost"}
        assert client.get("/api/status", headers=headers).status_code == 200
    crossed = {"Host": "localhost:443", "Origin": "http://localhost"}
    assert client.get("/api/status", headers=crossed).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/status", "/healthz", "/static/js/io/api.js"])
def test_a_wrong_host_is_refused_on_every_route(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example:8000"})
    assert answer.status_code == 403
    assert answer.get_json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "http://localhost:8000.evil.example",
        "file://localhost:8000",
        "localhost:8000",
        "",
    ],
)
def test_a_cross_site_origin_is_refused(client: FlaskClient, origin: str) -> None:
    answer = client.post(
        "/api/captions",
        data=picture(),
        headers={**JPEG, "Host": "localhost:8000", "Origin": origin},
    )
    assert answer.status_code == 403
    assert answer.get_json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_marked_as_cross_site_are_refused(client: FlaskClient, site: str) -> None:
    for path in ("/api/status", "/static/js/io/api.js", "/healthz"):
        assert client.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403
    posted = client.post("/api/captions", data=picture(), headers={**JPEG, "Sec-Fetch-Site": site})
    assert posted.status_code == 403


def test_a_link_on_another_site_opens_the_page(client: FlaskClient) -> None:
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_own_page_and_programs_are_served(client: FlaskClient, site: str) -> None:
    own = {"Host": "localhost:8000", "Origin": "http://localhost:8000", "Sec-Fetch-Site": site}
    assert client.get("/api/status", headers=own).status_code == 200
    assert client.post("/api/captions", data=picture(), headers={**JPEG, **own}).status_code == 200


def test_no_answer_has_cors_headers_by_default(client: FlaskClient) -> None:
    for method, path in (("OPTIONS", "/api/captions"), ("GET", "/api/status"), ("GET", "/")):
        headers = client.open(path, method=method).headers
        assert not [name for name, _ in headers if name.lower().startswith("access-control")]
