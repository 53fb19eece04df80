"""Truncated addresses: what stays of the addresses that Moodle's column ``ip`` can hold."""

import ipaddress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.core.addresses import truncate, truncate_column

CASES = {
    "192.0.2.77": "192.0.2.0",
    "192.0.2.77:51234": "192.0.2.0",
    " 192.0.2.77 ": "192.0.2.0",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
    "2001:DB8:1:2::6": "2001:db8:1::",
    "[2001:db8:1:2::6]:443": "2001:db8:1::",
    "::ffff:192.0.2.77": "192.0.2.0",
    "::ffff:c000:024d": "192.0.2.0",
    "::192.0.2.77": "192.0.2.0",
    "64:ff9b::192.0.2.77": "192.0.2.0",
    "2002:c000:024d::1": "192.0.2.0",
    "2001:0:4136:e378:8000:63bf:3fff:fdb2": "192.0.2.0",
    "fe80::1:2:3%eth0": "fe80::",
    "fe80::1%192.0.2.77": "fe80::",
    "::1": "::",
    "127.0.0.1": "127.0.0.0",
    "192.0.2.77, 198.51.100.4": "192.0.2.0, 198.51.100.0",
    "unknown, 2001:db8:1:2::6,10.1.2.3": "2001:db8:1::, 10.1.2.0",
    "unknown": None,
    "192.0.2.77/32": None,
    "192.0.2.077": None,
    "3221225985": None,
    "192.0.2.77 (Anna)": None,
    "": None,
    ",": None,
}


@pytest.mark.parametrize("text", CASES)
def test_the_network_of_an_address_stays(text: str) -> None:
    assert truncate(text) == CASES[text]
    assert truncate(CASES[text] or "") == CASES[text]


def test_a_column_keeps_its_rows() -> None:
    column = pa.chunked_array([["192.0.2.77", None], ["192.0.2.78", "x", "192.0.2.77"]])
    network = "192.0.2.0"
    assert truncate_column(column).to_pylist() == [network, None, network, None, network]


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "::ffff:{}", "[::ffff:{}]:1", "x,{}", "{}:8"]))
def test_nothing_else_of_an_ipv4_address_stays(address: ipaddress.IPv4Address, form: str) -> None:
    network = str(ipaddress.ip_network((int(address), 24), strict=False).network_address)
    assert truncate(form.format(address)) == network


@given(st.ip_addresses(v=6))
def test_two_addresses_of_a_network_are_one(address: ipaddress.IPv6Address) -> None:
    kept = truncate(str(address))
    assert kept is not None
    network = ipaddress.ip_address(kept)
    assert int(network) % 2 ** (network.max_prefixlen - {4: 24, 6: 48}[network.version]) == 0
    if network.version == 6:
        assert int(network) >> 80 == int(address) >> 80


@given(st.one_of(st.text(max_size=60), st.text("0123456789abcdef:.,%[]/ \0", max_size=60)))
def test_wild_text_never_stays(text: str) -> None:
    kept = truncate(text)
    for part in (kept or "").split(", ") if kept else []:
        assert str(ipaddress.ip_address(part)) == part
    assert kept is None or truncate(kept) == kept
