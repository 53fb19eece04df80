"""The embedded event store in this process, which takes a hundredth of the time of one of its own.

What depends on its process is tested with ``running`` of ``embedded/event_store.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from caliper_dagster.embedded import event_store
from caliper_dagster.embedded.faults import Faults


@contextmanager
def local_event_store(path: Path, api_key: str, hostile: str = "") -> Iterator[str]:
    """Serve in a thread on the loopback interface; yields the URL.

    Args:
        path: the SQLite file.
        api_key: the bearer token that senders must present.
        hostile: the faults to simulate, as ``Faults.parse`` reads them.
    """
    server = event_store._RestartingServer(path, api_key, Faults.parse(hostile))
    with closing(event_store._listener("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=(listener,))
        thread.start()
        try:
            yield event_store._address(listener) + event_store.ENDPOINT
        finally:
            server.end()
            thread.join()
