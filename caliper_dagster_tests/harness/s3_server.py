"""An S3-compatible store in memory, as a program: ``python -m … PORT``."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def _whole_requests_only(application: Callable[..., Iterable[bytes]]) -> Callable[..., Any]:
    """Refuse a request that was cut off, as S3 does."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        if len(body) < length:
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        if length:
            environ["wsgi.input"] = io.BytesIO(body)
        return application(environ, start_response)

    return answer


if __name__ == "__main__":
    store = _whole_requests_only(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), store, threaded=True)
