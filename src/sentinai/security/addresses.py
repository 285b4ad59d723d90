"""Where may an outgoing call go? Public addresses, and what the operator allowed by name.

The check is made on the address that is then connected to, so that a name cannot be answered differently in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import httpcore

from sentinai.errors import Denied, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, in the system's order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressGuard:
    """`allowed` holds hosts, `host:port`, `*.suffix` patterns and networks beyond the public internet."""

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve = resolve_name) -> None:
        self._networks = []
        self._names = []
        self._resolve = resolve
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.append(entry.lower())

    async def checked(self, host: str, port: int) -> str:
        """The address to connect to. Raises Denied for one that is not public or allowed, Unavailable for none."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"{host} cannot be resolved", host=host, sent=False) from error
        if not addresses:
            raise Unavailable(f"{host} has no address", host=host, sent=False)
        by_name = self._is_named(host.lower().rstrip("."), port)
        for text in addresses:
            if not by_name and not self._is_allowed(ipaddress.ip_address(text.partition("%")[0])):
                raise Denied(
                    f"{host} leads to an address that is not public; an operator can allow it in TOOL_ALLOWED_HOSTS.",
                    host=host,
                )
        return addresses[0]

    def _is_named(self, host: str, port: int) -> bool:
        return any(fnmatchcase(host, name) or fnmatchcase(f"{host}:{port}", name) for name in self._names)

    def _is_allowed(self, address: Address) -> bool:
        inner = _embedded(address)
        if any(inner.version == network.version and inner in network for network in self._networks):
            return True
        return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64): that is where the packets go."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


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
        address = await self._guard.checked(host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> Any:
        raise Denied("Unix sockets are not reachable for tools.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
