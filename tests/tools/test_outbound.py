"""Does the client of all tools connect to the address that was checked, and speak to the host that was meant?"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from calls import Answer, call, served, tool

from sentinai.errors import Denied, Unavailable
from sentinai.security.addresses import AddressGuard
from sentinai.security.secrets import SecretStore
from sentinai.tools.fate import Fate, fate_of
from sentinai.tools.invoke import Invoker
from sentinai.tools.outbound import outbound_client
from sentinai.tools.providers.http import HttpProvider

HOST = "psp.internal"


def guard(*answers: Sequence[str]) -> AddressGuard:
    """HOST is allowed; the name server answers with the first of these, then the second, …, and stays with the last."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return AddressGuard([HOST], resolve)


@asynccontextmanager
async def listening(said: Sequence[bytes], pause_s: float = 0.0) -> AsyncIterator[tuple[int, asyncio.Future[bytes]]]:
    """A socket that notes what arrives first and answers piece by piece; the port and the note."""
    first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived = await reader.read(65_536)
        if not first.done():
            first.set_result(arrived)
        try:
            for piece in said:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], first


async def test_the_host_is_still_named_though_its_address_is_connected_to() -> None:
    with served(lambda _: Answer()) as server:
        port = urlsplit(server.url).port
        async with outbound_client(guard(["127.0.0.1"])) as client:
            assert (await client.get(f"http://{HOST}:{port}/x")).status_code == 200
        assert [asked.headers["Host"] for asked in server.asked] == [f"{HOST}:{port}"]


async def test_tls_asks_for_the_certificate_of_the_name_and_not_of_the_address() -> None:
    async with listening([]) as (port, first), outbound_client(guard(["127.0.0.1"])) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://{HOST}:{port}/x")
        hello = await first
    assert hello[0] == 22  # a TLS handshake
    assert HOST.encode() in hello


async def test_a_name_that_moves_to_an_internal_address_between_two_calls_is_denied() -> None:
    with served(lambda _: Answer(headers={"Connection": "close"})) as server:
        url = f"http://{HOST}:{urlsplit(server.url).port}/x"
        async with outbound_client(guard(["127.0.0.1"], ["169.254.169.254"])) as client:
            assert (await client.get(url)).status_code == 200
            with pytest.raises(Denied):
                await client.get(url)
        assert len(server.asked) == 1


async def test_a_call_that_was_denied_leaves_the_client_usable() -> None:
    with served(lambda _: Answer()) as server:
        async with outbound_client(guard(["10.0.0.1", "169.254.169.254"], ["127.0.0.1"])) as client:
            url = f"http://{HOST}:{urlsplit(server.url).port}/x"
            with pytest.raises(Denied):
                await client.get(url)
            assert (await client.get(url)).status_code == 200


async def test_the_second_address_is_taken_when_nobody_listens_at_the_first() -> None:
    with served(lambda _: Answer()) as server:
        async with outbound_client(guard(["::1", "127.0.0.1"])) as client:
            assert (await client.get(f"http://{HOST}:{urlsplit(server.url).port}/x")).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 99],
        [b"HTTP/1.1 200 OK\r\n", *[b"X-Header: more\r\n"] * 99],
    ],
    ids=["nothing", "a body drop by drop", "headers without end"],
)
async def test_a_tool_that_takes_its_time_is_left_at_the_deadline(said: Sequence[bytes]) -> None:
    pieces = said or [b"", b""]
    async with listening(pieces, pause_s=0.1) as (port, _), outbound_client(AddressGuard(["127.0.0.1"])) as client:
        invoke = Invoker({"http": HttpProvider(client, SecretStore({}, None))})
        slow = tool(f"http://127.0.0.1:{port}/x", endpoint={"timeout": "150ms"})
        with pytest.raises(Unavailable) as caught:
            await invoke(call(slow))
    assert fate_of(caught.value) == Fate(sent=True)
