"""Can an outgoing call be talked into reaching something that is not public?"""

from collections.abc import Sequence
from typing import Any

import httpcore
import pytest

from sentinai.errors import Denied, Rejected, Unavailable
from sentinai.security.addresses import ADDRESSES_MAX, AddressGuard, GuardedBackend, resolve_name

PUBLIC = "93.184.215.14"


def guard(*answers: str, allowed: Sequence[str] = ()) -> AddressGuard:
    """A guard for which every name has these addresses."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers

    return AddressGuard(allowed, resolve)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
async def test_a_public_address_may_be_reached(address: str) -> None:
    assert await guard(address).addresses("tool.example.com", 443) == [address]


INTERNAL = {
    "loopback": "127.0.0.1",
    "another loopback": "127.8.8.8",
    "any": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "carrier's": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "multicast": "224.0.0.1",
    "global multicast": "232.1.1.1",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "documentation": "192.0.2.1",
    "benchmark": "198.18.0.1",
    "loopback 6": "::1",
    "any 6": "::",
    "link-local 6": "fe80::1",
    "link-local 6 with a zone": "fe80::1%eth0",
    "unique local": "fd00:ec2::254",
    "multicast 6": "ff02::1",
    "global multicast 6": "ff0e::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped in hex": "::ffff:a9fe:a9fe",
    "compatible loopback": "::127.0.0.1",
    "6to4 of a private one": "2002:a00:1::",
    "nat64 of metadata": "64:ff9b::a9fe:a9fe",
    "local nat64": "64:ff9b:1::a9fe:a9fe",
}


@pytest.mark.parametrize("address", INTERNAL.values(), ids=INTERNAL)
async def test_an_address_that_is_not_public_is_denied(address: str) -> None:
    with pytest.raises(Denied, match="not public"):
        await guard(address).addresses("tool.example.com", 443)


async def test_one_internal_address_among_public_ones_is_enough_to_deny() -> None:
    with pytest.raises(Denied):
        await guard(PUBLIC, "10.0.0.1").addresses("tool.example.com", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0", "127.1", "2130706433", "0x7f000001", "localhost"])
async def test_no_way_to_write_loopback_gets_past_the_systems_resolver(host: str) -> None:
    with pytest.raises((Denied, Unavailable)):
        await AddressGuard(resolve=resolve_name).addresses(host, 80)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("psp.internal", "psp.internal", 443),
        ("PSP.internal", "psp.INTERNAL", 443),
        ("psp.internal", "psp.internal.", 443),
        ("psp.internal:8443", "psp.internal", 8443),
        ("*.internal", "psp.internal", 443),
        ("10.0.0.0/8", "any.name", 443),
        ("10.0.0.7", "any.name", 443),
        ("10.0.0.7/24", "any.name", 443),
    ],
)
async def test_what_the_operator_allows_may_be_reached(entry: str, host: str, port: int) -> None:
    assert await guard("10.0.0.7", allowed=[entry]).addresses(host, port) == ["10.0.0.7"]


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("psp.internal", "psp.internal.evil.com", 443),
        ("psp.internal", "x-psp.internal", 443),
        ("psp.internal:8443", "psp.internal", 443),
        ("*.internal", "internal", 443),
        ("*.internal", "notinternal", 443),
        ("10.1.0.0/16", "any.name", 443),
        ("fd00::/8", "any.name", 443),
    ],
)
async def test_what_the_operator_allows_opens_nothing_else(entry: str, host: str, port: int) -> None:
    with pytest.raises(Denied):
        await guard("10.0.0.7", allowed=[entry]).addresses(host, port)


async def test_an_allowed_network_holds_for_mapped_addresses_too() -> None:
    reached = await guard("::ffff:10.0.0.7", allowed=["10.0.0.0/8"]).addresses("any.name", 443)
    assert reached == ["::ffff:10.0.0.7"]


async def test_all_loopback_addresses_of_an_allowed_name_may_be_reached() -> None:
    assert await guard("::1", "127.0.0.1", allowed=["localhost"]).addresses("localhost", 80) == ["::1", "127.0.0.1"]


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"])
async def test_an_allowed_name_does_not_lead_to_a_clouds_metadata(address: str) -> None:
    with pytest.raises(Denied):
        await guard(address, allowed=["psp.internal"]).addresses("psp.internal", 80)


async def test_a_cloud_service_in_a_public_range_is_denied() -> None:
    with pytest.raises(Denied):
        await guard("168.63.129.16").addresses("tool.example.com", 80)


@pytest.mark.parametrize(
    "entry", ["", " ", "https://psp.internal", "user@psp", "psp:0", "psp:99999", "psp:http", "a b"]
)
def test_an_entry_that_allows_nothing_sensible_is_refused(entry: str) -> None:
    with pytest.raises(Rejected, match="TOOL_ALLOWED_HOSTS"):
        AddressGuard([entry])


async def test_a_host_has_only_so_many_addresses_that_are_tried() -> None:
    many = [f"8.8.8.{n}" for n in range(50)]
    assert await guard(*many).addresses("tool.example.com", 443) == many[:ADDRESSES_MAX]


async def test_a_name_without_an_address_may_have_one_later() -> None:
    with pytest.raises(Unavailable, match="no address"):
        await guard().addresses("tool.example.com", 443)


@pytest.mark.parametrize("error", [OSError("no such host"), TimeoutError()])
async def test_a_name_that_cannot_be_resolved_may_be_later(error: Exception) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(Unavailable, match="cannot be resolved"):
        await AddressGuard(resolve=resolve).addresses("tool.example.com", 443)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example.com"])
async def test_what_is_no_name_will_never_be_resolved(host: str) -> None:
    with pytest.raises(Rejected, match="no host name"):
        await AddressGuard(resolve=resolve_name).addresses(host, 443)


class Recorder(httpcore.AsyncNetworkBackend):
    """The library's network, which writes down where it was asked to connect to."""

    def __init__(self, *down: str) -> None:
        self.connected: list[str] = []
        self._down = down

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._down:
            raise httpcore.ConnectError
        return httpcore.AsyncMockStream([])


async def test_a_name_that_is_answered_differently_the_second_time_gains_nothing() -> None:
    answers = [[PUBLIC], ["169.254.169.254"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    network = Recorder()
    backend = GuardedBackend(AddressGuard(resolve=rebinding), network)
    await backend.connect_tcp("rebind.example.com", 80)
    assert network.connected == [PUBLIC]
    with pytest.raises(Denied):
        await backend.connect_tcp("rebind.example.com", 80)
    assert network.connected == [PUBLIC]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    network = Recorder("8.8.8.1")
    await GuardedBackend(guard("8.8.8.1", "8.8.8.2"), network).connect_tcp("tool.example.com", 443)
    assert network.connected == ["8.8.8.1", "8.8.8.2"]


async def test_a_host_of_which_no_address_answers_cannot_be_reached() -> None:
    with pytest.raises(httpcore.ConnectError):
        await GuardedBackend(guard("8.8.8.1", "8.8.8.2"), Recorder("8.8.8.1", "8.8.8.2")).connect_tcp("x.com", 443)


async def test_a_unix_socket_cannot_be_reached() -> None:
    with pytest.raises(Denied):
        await GuardedBackend(guard(PUBLIC), Recorder()).connect_unix_socket("/var/run/docker.sock")
