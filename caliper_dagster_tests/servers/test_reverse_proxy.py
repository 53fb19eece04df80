"""The proxy of ``deploy/nginx`` in a real nginx: which requests reach the web UI behind it.

What a browser sends for each cross-site form is written down in https://fetch.spec.whatwg.org
(``Origin``, ``Sec-Fetch-Site``, request bodies that need no preflight).
"""

from __future__ import annotations

import base64
import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.services import nginx

HOST = "dagster.example.org"
OWN = f"https://{HOST}"
EVIL = "https://evil.example.net"
ACCOUNT = "Basic " + base64.b64encode(b"analyst:password").decode()
LAUNCH = "/graphql?query=mutation%7BlaunchRun%7D"
JSON = {"Content-Type": "application/json"}
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}


@dataclass
class WebUi:
    """What stands in for the web UI, and the way to it through the proxy."""

    port: int
    reached: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    def status(self, method: str, path: str, body: str | None = None, **headers: str) -> int:
        """The proxy's answer to a request of a browser that holds the account."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context
        )
        sent = {"Host": HOST, "Authorization": ACCOUNT}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(connection):
            connection.request(method, path, body, sent)
            return connection.getresponse().status


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    folder = tmp_path_factory.mktemp("nginx")
    found = WebUi(free_port())

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.reached.append((self.command, self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = (ROOT / "deploy" / "nginx" / "caliper-dagster.conf").read_text(encoding="utf-8")
    for given, here in {
        "listen 443": f"listen 127.0.0.1:{found.port}",
        "127.0.0.1:3000": f"127.0.0.1:{server.server_port}",
        "/etc/ssl/certs/dagster.example.org.pem": str(folder / "certificate.pem"),
        "/etc/ssl/private/dagster.example.org.key": str(folder / "key.pem"),
        "/etc/nginx/caliper-dagster.htpasswd": str(folder / "accounts"),
    }.items():
        assert given in text
        text = text.replace(given, here)
    (folder / "accounts").write_text("analyst:{PLAIN}password\n")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=dagster.example.org "
        "-keyout key.pem -out certificate.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    with nginx(folder, text, found.port):
        yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def web_ui(proxied: WebUi) -> WebUi:
    proxied.reached.clear()
    return proxied


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/runs", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}),
        ("GET", "/runs", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
        ("GET", "/icons/x.png", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}),
        ("POST", "/graphql", {**JSON, "Origin": OWN, "Sec-Fetch-Site": "same-origin"}),
        ("POST", "/graphql", {"Content-Type": "application/json; charset=utf-8"}),
        ("GET", "/graphql", {**WEBSOCKET, "Origin": OWN}),
    ],
)
def test_the_web_ui_itself_works(
    web_ui: WebUi, method: str, path: str, headers: dict[str, str]
) -> None:
    assert web_ui.status(method, path, "{}" if method == "POST" else None, **headers) == 200
    ((reached_by, reached, received),) = web_ui.reached
    assert (reached_by, reached) == (method, path)
    assert received["Host"] == HOST
    assert "Authorization" not in received
    assert received.get("Upgrade") == headers.get("Upgrade")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        # A link, an image, a frame, a page that is fetched ahead.
        ("GET", LAUNCH, {}, 405),
        ("HEAD", LAUNCH, {}, 405),
        ("GET", LAUNCH, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("GET", LAUNCH, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("GET", LAUNCH, {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 405),
        ("GET", "/%67raphql?query=mutation", {}, 405),
        ("GET", "/x/..//graphql?query=mutation", {}, 405),
        # A form of another page, a script of another page, a sandboxed frame.
        ("POST", LAUNCH, {"Content-Type": "text/plain", "Origin": EVIL}, 403),
        ("POST", "/graphql", {**JSON, "Origin": EVIL}, 403),
        ("POST", "/graphql", {**JSON, "Origin": "null"}, 403),
        ("POST", "/graphql", {**JSON, "Origin": f"{OWN}.example.net"}, 403),
        ("POST", "/graphql", {**JSON, "Origin": f"http://{HOST}"}, 403),
        ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "same-site"}, 403),
        ("OPTIONS", "/graphql", {"Origin": EVIL}, 403),
        # Bodies that a browser sends without asking first, from a browser that hides the origin.
        ("POST", LAUNCH, {"Content-Type": "text/plain"}, 415),
        ("POST", LAUNCH, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", LAUNCH, {"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
        ("POST", LAUNCH, {}, 415),
        # WebSockets are not bound to an origin.
        ("GET", "/graphql", {**WEBSOCKET, "Origin": EVIL}, 403),
        ("GET", "/graphql", WEBSOCKET, 405),
        # Another name that leads here: DNS rebinding.
        ("POST", "/graphql", {**JSON, "Host": "evil.example.net"}, 421),
        ("GET", "/", {"Host": "127.0.0.1"}, 421),
        # Other methods and paths.
        ("POST", "/", JSON, 405),
        ("PUT", "/graphql", JSON, 405),
        ("DELETE", "/runs", {}, 405),
        ("POST", "/report_asset_materialization/moodle_log", JSON, 403),
        ("POST", "/graphql", {**JSON, "Authorization": ""}, 401),
        ("GET", "/", {"Authorization": "Basic YTpi"}, 401),
    ],
)
def test_no_other_request_reaches_the_web_ui(
    web_ui: WebUi, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert web_ui.status(method, path, "{}" if method == "POST" else None, **headers) == status
    assert web_ui.reached == []
