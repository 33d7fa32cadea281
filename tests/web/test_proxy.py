"""A reverse proxy in front: names, path prefixes and addresses count if the proxy is trusted."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from flask.testing import FlaskClient

from vlm.engine.engine import Engine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import (
    HANG_GUARD_S,
    JPEG,
    SteppedEngine,
    app_over,
    free_port,
    picture,
    read_events,
    served,
    started,
)
from worker_kit import wait_until

NAME = "cam.example.org"
LOCAL = {"REMOTE_ADDR": "127.0.0.1"}
MAPPED = {"REMOTE_ADDR": "::ffff:127.0.0.1"}
STRANGER = {"REMOTE_ADDR": "203.0.113.9"}
FORWARDED = {
    "Host": "127.0.0.1:8000",
    "X-Forwarded-Host": NAME,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9",
}


def client(worker: Worker, *argv: str) -> FlaskClient:
    return app_over(worker, Settings.from_args(argv, {})).test_client()


@pytest.mark.parametrize(
    ("argv", "headers", "base", "status"),
    [
        pytest.param((), {}, LOCAL, 403, id="no proxy is trusted by default"),
        pytest.param(("--behind-proxy",), {}, LOCAL, 200, id="one on this machine"),
        pytest.param(
            ("--behind-proxy",), {}, {"REMOTE_ADDR": "::ffff:127.0.0.1"}, 200, id="mapped"
        ),
        pytest.param(("--behind-proxy",), {}, STRANGER, 403, id="a stranger's headers"),
        pytest.param(("--behind-proxy", "203.0.113.0/24"), {}, STRANGER, 200, id="a named network"),
        pytest.param(("--behind-proxy", "203.0.113.9"), {}, LOCAL, 403, id="only the named one"),
        pytest.param(
            ("--behind-proxy",), {"X-Forwarded-Host": "evil.example"}, LOCAL, 403, id="other name"
        ),
        pytest.param(
            ("--behind-proxy",), {"Host": "evil.example"}, LOCAL, 403, id="rebinding with a header"
        ),
        pytest.param(
            ("--behind-proxy",),
            {"X-Forwarded-Host": f"evil.example, {NAME}"},
            LOCAL,
            200,
            id="the nearest proxy's value counts",
        ),
        pytest.param(
            ("--behind-proxy",), {"Origin": "https://evil.example"}, LOCAL, 403, id="other site"
        ),
        pytest.param(("--behind-proxy",), {"Host": NAME}, LOCAL, 200, id="the host is passed on"),
    ],
)
def test_forwarded_names_count_from_trusted_addresses_only(
    web_worker: Worker,
    argv: tuple[str, ...],
    headers: dict[str, str],
    base: dict[str, str],
    status: int,
) -> None:
    page = {"Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}
    answer = client(web_worker, "--allow-host", NAME, *argv).post(
        "/api/captions?max_tokens=1",
        data=picture(),
        headers={**JPEG, **FORWARDED, **page, **headers},
        environ_base=base,
    )
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("header", ["X-Forwarded-Prefix", "X-Ingress-Path"])
def test_a_path_prefix_may_be_kept_or_removed_by_the_proxy(web_worker: Worker, header: str) -> None:
    proxied = client(web_worker, "--behind-proxy", "--allow-host", NAME)
    headers = {**FORWARDED, header: "/api/hassio_ingress/a-token"}
    for path in ("/healthz", "/api/hassio_ingress/a-token/healthz"):
        assert proxied.get(path, headers=headers, environ_base=LOCAL).status_code == 200
    moved = proxied.get("/api/hassio_ingress/a-token", headers=headers, environ_base=LOCAL)
    assert (moved.status_code, moved.headers["Location"]) == (308, "/api/hassio_ingress/a-token/")


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a b", '/a"><script>', "https://evil", "/.%2e"]
)
def test_a_strange_prefix_is_ignored(web_worker: Worker, prefix: str) -> None:
    proxied = client(web_worker, "--behind-proxy", "--allow-host", NAME)
    headers = {**FORWARDED, "X-Forwarded-Prefix": prefix}
    answer = proxied.get("/healthz", headers=headers, environ_base=LOCAL)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("argv", "headers", "remote", "status"),
    [
        ((), {}, "127.0.0.1", 200),
        ((), {}, "::1", 200),
        ((), {}, "192.168.1.7", 403),
        (("--trust-network",), {}, "192.168.1.7", 200),
        # The stranger behind the proxy counts, not the proxy.
        (("--behind-proxy",), FORWARDED | {"X-Forwarded-Host": "localhost"}, "127.0.0.1", 403),
        (("--behind-proxy", "--trust-network"), FORWARDED, "127.0.0.1", 200),
        # Two proxies on this machine, one that forwards for nobody, and proxies without the flag.
        (("--behind-proxy",), {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"}, "127.0.0.1", 403),
        (("--behind-proxy",), {"X-Forwarded-Proto": "https"}, "127.0.0.1", 403),
        ((), {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, "127.0.0.1", 403),
        ((), {"X-Real-IP": "127.0.0.1"}, "127.0.0.1", 403),
        ((), {"X-Forwarded-For": "127.0.0.1"}, "192.168.1.7", 403),
        ((), {"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1", 200),
    ],
)
def test_only_this_machine_controls_the_models_and_reads_metrics(
    web_worker: Worker, argv: tuple[str, ...], headers: dict[str, str], remote: str, status: int
) -> None:
    app = client(web_worker, "--host", "0.0.0.0", "--allow-host", NAME, *argv)
    base = {"REMOTE_ADDR": remote}
    assert app.get("/metrics", headers=headers, environ_base=base).status_code == status
    dismissed = app.post("/api/models/dismiss", headers=headers, environ_base=base)
    assert dismissed.status_code == status
    told = app.get("/api/status", headers=headers, environ_base=base).get_json()
    assert told["can_change_models"] == (status == 200)


@pytest.mark.parametrize(
    ("headers", "remote", "own", "is_same"),
    [
        ({}, "127.0.0.1", "127.0.0.1", True),
        ({}, "192.168.1.5", "192.168.1.5", True),
        ({}, "::ffff:192.168.1.5", "192.168.1.5", True),
        ({}, "192.168.1.7", "192.168.1.5", False),
        ({"X-Forwarded-For": "192.168.1.5"}, "192.168.1.5", "192.168.1.5", False),
        ({}, "", "", False),
    ],
)
def test_page_knows_whether_it_runs_on_the_servers_machine(
    web_worker: Worker, headers: dict[str, str], remote: str, own: str, is_same: bool
) -> None:
    app = client(web_worker, "--host", "0.0.0.0")
    base = {"REMOTE_ADDR": remote, "SERVER_NAME": own}
    told = app.get("/api/status", headers=headers, environ_overrides=base).get_json()
    assert told["same_machine"] is is_same


@pytest.mark.parametrize(
    ("argv", "ancestors"),
    [
        ((), "'none'"),
        (("--allow-frame", "http://homeassistant.local:8123"), "http://homeassistant.local:8123"),
        (("--allow-frame", "self,https://a.example"), "'self' https://a.example"),
    ],
)
def test_frames_are_allowed_to_named_sites_only(
    web_worker: Worker, argv: tuple[str, ...], ancestors: str
) -> None:
    policy = client(web_worker, *argv).get("/").headers["Content-Security-Policy"]
    assert policy.endswith(f"; frame-ancestors {ancestors}")


# -- a real nginx --

# A location that sets a header inherits none, so each has all of them.
FORWARDED_BY_NGINX = """
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-For $remote_addr;
"""
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 20m;
  proxy_buffering off;
  proxy_http_version 1.1;
  server {{
    listen 127.0.0.1:{http};
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    location / {{
{forwarded}
      proxy_pass http://127.0.0.1:{port};
    }}
    location /sightline/ {{
{forwarded}
      proxy_set_header X-Forwarded-Prefix /sightline;
      proxy_pass http://127.0.0.1:{port}/;
    }}
    location /kept/ {{
{forwarded}
      proxy_set_header X-Forwarded-Prefix /kept;
      proxy_pass http://127.0.0.1:{port};
    }}
  }}
}}
"""


class Proxy(NamedTuple):
    http: int
    https: int
    authority: trustme.CA

    @contextmanager
    def connection(self, scheme: str) -> Iterator[http.client.HTTPConnection]:
        if scheme == "https":
            context = ssl.create_default_context()
            self.authority.configure_trust(context)
            opened: http.client.HTTPConnection = http.client.HTTPSConnection(
                "localhost", self.https, timeout=HANG_GUARD_S, context=context
            )
        else:
            opened = http.client.HTTPConnection("localhost", self.http, timeout=HANG_GUARD_S)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def nginx(port: int, folder: Path) -> Iterator[Proxy]:
    """Run nginx in front of the server at `port`, with its files in `folder`."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    found = Proxy(free_port(), free_port(), authority)
    text = CONFIGURATION.format(
        forwarded=FORWARDED_BY_NGINX,
        folder=folder,
        port=port,
        http=found.http,
        https=found.https,
    )
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", f"{folder}/error.log"]
    with subprocess.Popen(command) as process:
        try:
            wait_until((folder / "nginx.pid").exists)
            yield found
        finally:
            process.terminate()


BEHIND_PROXY = Settings.from_args(("--behind-proxy",), {})


@pytest.fixture(scope="module")
def proxy(web_worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    with served(web_worker, BEHIND_PROXY) as (port, _), nginx(port, folder) as found:
        yield found


def origin_of(proxy: Proxy, scheme: str) -> str:
    return f"{scheme}://localhost:{proxy.https if scheme == 'https' else proxy.http}"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("prefix", ["", "/sightline", "/kept"])
def test_page_and_captions_work_behind_nginx(proxy: Proxy, scheme: str, prefix: str) -> None:
    own = {"Origin": origin_of(proxy, scheme), "Sec-Fetch-Site": "same-origin"}
    with proxy.connection(scheme) as connection:
        connection.request("GET", f"{prefix}/")
        page = connection.getresponse()
        text = page.read().decode()
        assert page.status == 200
        assert 'src="static/js/main.js"' in text
        for file in ("static/js/main.js", "static/manifest.webmanifest"):
            connection.request("GET", f"{prefix}/{file}", headers=own)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        headers = {**JPEG, **own}
        connection.request("POST", f"{prefix}/api/captions?max_tokens=4", picture(), headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert read_events(answer.read().decode())[-1][0] == "done"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_other_sites_are_refused_behind_nginx(proxy: Proxy, scheme: str) -> None:
    other = "http" if scheme == "https" else "https"
    cases = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": origin_of(proxy, other)},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ]
    for case in cases:
        with proxy.connection(scheme) as connection:
            connection.request("POST", "/api/captions", picture(), {**JPEG, **case})
            answer = connection.getresponse()
            assert (answer.status, case) == (403, case)
            answer.read()


def test_events_pass_nginx_one_by_one(engine: Engine, tmp_path: Path) -> None:
    stepped = SteppedEngine(engine)
    worker = Worker(lambda: stepped, max_queue=1)
    with (
        started(worker),
        served(worker, BEHIND_PROXY) as (port, _),
        nginx(port, tmp_path) as proxy,
        proxy.connection("https") as connection,
    ):
        stepped.allow(2)
        connection.request("POST", "/sightline/api/captions", picture(), JPEG)
        answer = connection.getresponse()
        # The engine waits, so a proxy that buffers would send nothing.
        received = b""
        while b"event: token" not in received:
            received += answer.read1(1000)
        assert b"event: done" not in received
        stepped.allow(10_000)
        assert b"event: done" in answer.read()
