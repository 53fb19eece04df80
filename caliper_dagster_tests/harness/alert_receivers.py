"""Receivers of alerts on this machine: a mail server and a webhook, which keep what they take."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server (RFC 5321): as much of it as a client that sends one message needs.

    Attributes:
        messages: the messages that it has taken.
        logins: the credentials of ``AUTH PLAIN``, as they came.
        refuses: a command to which it answers 550 or 535.
        silent: whether it accepts connections and says nothing.
    """

    daemon_threads = True

    def __init__(self, certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.messages: list[EmailMessage] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []
        self.refuses = ""
        self.silent = False
        self.tls: ssl.SSLContext | None = None
        if certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        if self.server.silent:
            time.sleep(3)
            return
        self._encrypted = False
        self._say("220 mail.example.org ESMTP")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word.upper() == self.server.refuses:
                self._say("535 no, pupil@example.org" if word == "AUTH" else "550 no")
            elif word.upper() == "QUIT":
                self._say("221 bye")
                return
            else:
                self._answer(word.upper(), rest)

    def _answer(self, word: str, rest: str) -> None:
        if word == "EHLO":
            offers_tls = self.server.tls is not None and not self._encrypted
            self._say("250-mail.example.org" + ("\r\n250-STARTTLS" if offers_tls else ""))
            self._say("250 AUTH PLAIN")
        elif word == "STARTTLS" and self.server.tls:
            self._say("220 go on")
            # A client that does not trust the certificate ends the connection.
            with suppress(OSError):
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
                self.setup()
                self._encrypted = True
        elif word == "AUTH":
            self.server.logins.append(rest.split()[1])
            self._say("235 welcome")
        elif word == "DATA":
            self._say("354 go on")
            self._take()
        else:
            self._say("250 ok")

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.server.messages.append(message)
        self.server.encrypted.append(self._encrypted)
        self._say("250 taken")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Webhook(ThreadingHTTPServer):
    """A webhook that keeps the JSON of each request.

    Attributes:
        taken: path and body of the requests that it answered with 200.
        status: what it answers.
        silent: seconds for which it says nothing.
        delay: seconds after which it takes a request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _WebhookHandler)
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.silent = 0.0
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _WebhookHandler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        time.sleep(self.server.silent + self.server.delay)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200 and not self.server.silent:
            self.server.taken.append((self.path, body))
        try:
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:  # The client has given up.
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal."""


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[MailServer]:
    """A mail server; with a certificate (PEM, key included) it offers STARTTLS."""
    with MailServer(certificate) as server:
        yield from _served(server)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook."""
    with Webhook() as server:
        yield from _served(server)


def _served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
