"""A proxy that cannot be used, or that cannot be reached, is said to be the problem."""

from __future__ import annotations

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter import HttpDestination
from caliper_dagster_tests.harness.ports import free_port


@pytest.fixture
def closed() -> str:
    """An address of this machine on which nobody listens."""
    return f"127.0.0.1:{free_port()}"


def refusal(monkeypatch: pytest.MonkeyPatch, proxy: str) -> DeliveryError:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with (
        HttpDestination("http://store.invalid/caliper", "key") as event_store,
        pytest.raises(DeliveryError) as refused,
    ):
        event_store.limits()
    assert "s3cret" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_that_is_down_is_named(
    scheme: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme != "http":
        pytest.importorskip("socks", reason="PySocks is not installed")
    error = refusal(monkeypatch, f"{scheme}://user:s3cret@{closed}")
    assert "through the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY" in str(error)
    assert error.transient


@pytest.mark.parametrize("proxy", ["socks9://user:s3cret@127.0.0.1:9", "http://[s3cret"])
def test_a_proxy_that_is_none_stops_the_run(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, proxy)
    assert "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no URL of a proxy" in str(error)
    assert not error.transient
