"""IP addresses as they are stored: whole, or without the part that tells one device from another.

Moodle writes what a proxy says into the column ``ip``. So it holds addresses of both versions,
IPv4 addresses inside IPv6 ones (``::ffff:192.0.2.7``), zones (``fe80::1%eth0``), lists of proxies
(``192.0.2.7, 198.51.100.4``), ports, and texts that are no address.
"""

from __future__ import annotations

import ipaddress
import re

import pyarrow as pa
import pyarrow.compute as pc

_KEPT_BITS = {4: 24, 6: 48}
"""Bits that stay: the network of an organization, as Matomo and others keep it for IPv4; of IPv6
the least that a provider assigns to a customer."""


_PORT, _ZONE = r"(?::[0-9]{1,5})?", r"(?:%[A-Za-z0-9]{1,15})?"
_IPV6 = rf"[0-9A-Fa-f:]+[0-9.]*{_ZONE}"
_WRITTEN = re.compile(rf"[0-9.]+{_PORT}|{_IPV6}|\[{_IPV6}\]{_PORT}")


def addresses_in(text: str) -> str | None:
    """The addresses in a text, as they are written there; None if no address is in it."""
    parts = [part.strip() for part in text.split(",")]
    found = [part for part in parts if _WRITTEN.fullmatch(part) and _address(part) is not None]
    return text if found == parts and found else ", ".join(found) or None


def truncate(text: str) -> str | None:
    """The networks of the addresses in a text; None if no address is in it.

    ``192.0.2.7`` becomes ``192.0.2.0`` and ``2001:db8:1:2::3`` becomes ``2001:db8:1::``. An IPv4
    address inside an IPv6 address is shown, and truncated, as IPv4. Zone and port are left out. In
    a list, what is no address is left out.
    """
    networks = (_network(part.strip()) for part in text.split(","))
    return ", ".join(network for network in networks if network) or None


def truncate_column(column: pa.ChunkedArray) -> pa.Array:
    """`truncate` of a text column, once for each distinct value; null stays null."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    short = pa.array([truncate(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return short.take(encoded.indices)


def _network(text: str) -> str | None:
    address = _address(text)
    if address is None:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        # ``2002:…`` and ``2001:0:…`` hold the whole address of a device in their network part.
        address = inner or _compatible(address) or address
    cut = address.max_prefixlen - _KEPT_BITS[address.version]
    return str(type(address)(int(address) >> cut << cut))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.partition("%")[0]
    if text.startswith("["):  # ``[2001:db8::1]:443``
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # ``192.0.2.7:443``
        text = text.partition(":")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _compatible(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address of ``::192.0.2.7`` (deprecated) and ``64:ff9b::192.0.2.7`` (NAT64)."""
    number = int(address)
    if number >> 32 in (0, 0x64FF9B << 64) and number & 0xFFFFFFFF > 0xFFFF:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None
