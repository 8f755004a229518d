"""Requests to the stack's servers: directly, without the proxies of the environment; the answer or one error."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.stack.probing import request


class Echo(BaseHTTPRequestHandler):
    """Answers with the body of the request, or the path; status 500 for ``/broken``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(201, body)

    def do_GET(self) -> None:
        self.answer(500 if self.path == "/broken" else 200, f"at {self.path}".encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *more: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_the_status_and_the_body(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert request("GET", f"{server}/here") == (200, "at /here")
    assert request("GET", f"{server}/broken") == (500, "at /broken")
    assert request("POST", f"{server}/", {"limit": [1, 2]}) == (201, {"limit": [1, 2]})


def test_no_answer_is_a_connection_error() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(ConnectionError, match=f"{url} does not answer"):  # nothing listens yet
            request("GET", url)
        listening.listen()
        with pytest.raises(ConnectionError, match=f"{url} does not answer"):
            request("GET", url, timeout=0.2)


def test_the_command_line_starts_without_the_http_client() -> None:
    code = "import json, sys, flows.cli.app; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"httpx", "urllib.request", "pydantic"} & set(json.loads(done.stdout))
