"""Where may an outgoing call go? Public addresses, and what the operator allowed.

The check is made on the address that is then connected to, so that a name cannot be answered differently in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, NoReturn

import httpcore

from sentinai.errors import Denied, Rejected, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

ADDRESSES_MAX = 4
"""Addresses of one host that are tried one after the other."""
RESOLVE_TIMEOUT_S = 5.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)
"""What clouds tell a machine about itself, its credentials included; one of them is in a public range."""


class Allowed(NamedTuple):
    """One entry of the operator's list: a network or a pattern of names, on one port or (None) on all."""

    network: Network | None
    pattern: str
    port: int | None


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, in the system's order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressGuard:
    """`allowed` holds hosts, `host:port`, `*.suffix` patterns and networks beyond the public internet."""

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve = resolve_name) -> None:
        self._allowed = [_parse(entry) for entry in allowed]
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses to connect to.

        Raises Denied if any is neither public nor allowed, Unavailable for none, Rejected for what is no host name.
        """
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._resolve(host, port)
        except OSError as error:  # TimeoutError is one
            raise Unavailable(f"{host} cannot be resolved", host=host) from error
        except UnicodeError as error:
            raise Rejected(f"{host!r} is no host name: a part of it is empty, or longer than 63", host=host) from error
        if not found:
            raise Unavailable(f"{host} has no address", host=host)
        named = self._is_named(host.lower().rstrip("."), port)
        for text in found:
            address = _destination(ipaddress.ip_address(text.partition("%")[0]))
            if not (self._is_listed(address, port) or is_public(address) or (named and _may_be_named(address))):
                raise Denied(
                    f"{host} leads to an address that is not public; an operator can allow it in TOOL_ALLOWED_HOSTS.",
                    host=host,
                )
        return list(dict.fromkeys(found))[:ADDRESSES_MAX]

    def _is_named(self, host: str, port: int) -> bool:
        return any(a.network is None and fnmatchcase(host, a.pattern) and a.port in (None, port) for a in self._allowed)

    def _is_listed(self, address: Address, port: int) -> bool:
        return any(a.network is not None and address in a.network and a.port in (None, port) for a in self._allowed)


def is_public(address: Address) -> bool:
    """On the internet, for one receiver, and not a cloud's own service."""
    special = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return address.is_global and not special and address not in _METADATA


def _may_be_named(address: Address) -> bool:
    """A name is allowed for hosts on private networks; whoever answers for it must not lead us to metadata by it."""
    forbidden = address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA
    return not forbidden and (address.is_private or address.is_loopback)


def _destination(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64): that is where the packets go."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _parse(entry: str) -> Allowed:
    """Raises Rejected for what is no host, `host:port`, pattern or network."""
    host, port = entry.strip().lower(), ""
    if host.startswith("[") or host.count(":") == 1:
        host, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    host = host.removeprefix("[").removesuffix("]").rstrip(".")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536)):
        raise Rejected(f"TOOL_ALLOWED_HOSTS: {entry!r} is no host, host:port or network.")
    try:
        return Allowed(ipaddress.ip_network(host, strict=False), "", int(port) if port else None)
    except ValueError:
        if set(host) & set("/@ :[]?"):
            raise Rejected(f"TOOL_ALLOWED_HOSTS: {entry!r} is no host, host:port or network.") from None
    return Allowed(None, host, int(port) if port else None)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects only where the guard allows. TLS still verifies the name, since only the TCP connection is redirected."""

    def __init__(self, guard: AddressGuard, inner: httpcore.AsyncNetworkBackend) -> None:
        self._guard = guard
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first of the host's addresses that answers."""
        *others, last = await self._guard.addresses(host, port)
        for address in others:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: object, **__: object) -> NoReturn:
        raise Denied("Unix sockets are not reachable for tools.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
