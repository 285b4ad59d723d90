"""Does a call say truly whether its first byte left, whatever ends it, and is the circuit left out of what was ours?

Real sockets on this machine. Each case is called often enough to open a circuit.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
import trustme
from calls import Answer, Server, call, served, tool

from sentinai.errors import Denied, Missing, SentinaiError
from sentinai.packs.effective import Tool
from sentinai.security.addresses import AddressGuard
from sentinai.security.secrets import SecretStore
from sentinai.tools import outbound
from sentinai.tools.circuit import FAILURES_TO_OPEN
from sentinai.tools.fate import UNSENT, AnswerUnusable, Fate, NotBegun, Refused, Unanswered, Unsendable, fate_of
from sentinai.tools.invoke import Invoker
from sentinai.tools.outbound import build, outbound_client, send
from sentinai.tools.provider import ToolCall, ToolResult
from sentinai.tools.providers.catalog import CATALOG
from sentinai.tools.request import URL_CHARS_MAX

DEADLINE = "400ms"
"""Enough for a connection on a busy machine."""
KEY = {"type": "apiKey", "header": "X-Key", "secret": "PSP"}
BEARER = {"type": "bearer", "secret": "PSP"}
BASIC = {"type": "basic", "username": "me", "secret": "PSP"}
SENT, OURS, THEIRS = Fate(sent=True), UNSENT, Fate(sent=False)


def invoker(client: httpx.AsyncClient, secret: str | None = "s3cret") -> Invoker:
    environ = {"SENTINAI_SECRET_ACME__PSP": secret} if secret is not None else {}
    return Invoker({name: build(client, SecretStore(environ, None)) for name, build in CATALOG})


async def ended(invoke: Invoker, of: ToolCall) -> tuple[Exception, bool]:
    """How an attempt ends, and whether as many at once as open a circuit have opened it."""
    errors = await asyncio.gather(*(failed(invoke, of) for _ in range(FAILURES_TO_OPEN)))
    assert len({(type(e), fate_of(e)) for e in errors}) == 1
    return errors[0], isinstance(await failed(invoke, of), NotBegun)


async def failed(invoke: Invoker, of: ToolCall) -> Exception:
    with pytest.raises(SentinaiError) as caught:
        await invoke(of)
    return caught.value


# Refused before anything is sent: by a sentence that says what to fix.


class Wrong(NamedTuple):
    said: str
    """A part of the message."""
    content: Any = {}
    headers: dict[str, str] = {}
    path: str = "/x"
    body: Any = None
    auth: dict[str, str] | None = None
    secret: str | None = "s3cret"
    provider: str = "http"


SIX = "/x?" + "&".join(f"p{n}=${{input.v}}" for n in range(6))
WRONG = {
    "blank before": Wrong("'X-Ref' would begin or end with a blank", {"v": " a"}, {"X-Ref": "${input.v}"}),
    "blank after": Wrong("'X-Ref' would begin or end with a blank", {"v": "a "}, {"X-Ref": "${input.v}"}),
    "only a blank": Wrong("'X-Ref' would begin or end with a blank", {"v": " "}, {"X-Ref": "${input.v}"}),
    "tab": Wrong("'X-Ref' would hold a character at place 1 ", {"v": "a\tb"}, {"X-Ref": "${input.v}"}),
    "line break": Wrong("'X-Ref' would hold a character at place 1 ", {"v": "a\r\nb"}, {"X-Ref": "${input.v}"}),
    "not ASCII": Wrong("'X-Ref' would hold a character at place 0 ", {"v": "é"}, {"X-Ref": "${input.v}"}),
    "half a surrogate": Wrong("not Unicode", {"v": "\ud800"}, {"X-Ref": "${input.v}"}),
    "long header": Wrong("would have 5,000 characters; 4,096 is", {"v": "x" * 5_000}, {"X-Ref": "${input.v}"}),
    "list in a header": Wrong("'X-Ref' would hold a list", {"v": []}, {"X-Ref": "${input.v}"}),
    "nothing to take": Wrong("Key not found", {}, {"X-Ref": "${input.v}"}),
    "header's name": Wrong("'X Ref' is not a header", headers={"X Ref": "a"}),
    "reserved header": Wrong("belongs to the connection", headers={"Host": "a"}),
    "URL too long": Wrong(f"characters; {URL_CHARS_MAX:,} is the limit", {"v": "é" * 2_000}, path=SIX),
    "long piece": Wrong("it has 2,001 characters, and 2,000 is", {"v": "x" * 2_001}, path="/${input.v}"),
    "dot segment": Wrong("dot segment", {"v": ".."}, path="/${input.v}"),
    "empty piece": Wrong("it is empty", {"v": ""}, path="/${input.v}"),
    "surrogate in URL": Wrong("not Unicode", {"v": "\udfff"}, path="/${input.v}"),
    "control in URL": Wrong("a control character at place", path="/a\x01"),
    "body of half surrogates": Wrong("the body holds text that is not Unicode", {"v": "\ud800"}),
    "declared body": Wrong("not Unicode", {"v": "\ud800"}, body={"a": "${input.v}"}),
    "body without JSON": Wrong("the body cannot be written as JSON", {"v": object()}),
    "webhook's body": Wrong("the body holds text that is not Unicode", {"v": "\ud800"}, provider="webhook"),
    "key with a blank": Wrong("'X-Key' would begin or end with a blank", auth=KEY, secret="s3cret "),
    "key beyond ASCII": Wrong("'X-Key' would hold a character at place 6 ", auth=KEY, secret="s3cretü"),
    "key with NUL": Wrong("'X-Key' would hold a character at place 2 ", auth=KEY, secret="s3\0cret"),
    "bearer with a blank": Wrong("'Authorization' would begin or end with a blank", auth=BEARER, secret=" s3cret"),
    "bearer with bytes": Wrong("'Authorization' would hold a character", auth=BEARER, secret="s3cret\udcff"),
    "basic with bytes": Wrong("the secret holds text that is not Unicode", auth=BASIC, secret="s3cret\udcff"),
    "basic with NUL": Wrong("the secret holds a control character", auth=BASIC, secret="s3cret\0"),
    "basic with a colon": Wrong("must not hold a colon", auth={**BASIC, "username": "a:b"}),
    "basic too long": Wrong("4,096 is the limit", auth=BASIC, secret="s3cret" * 600),
    "webhook with bytes": Wrong("the secret holds text", auth=KEY, secret="s3cret\udcff", provider="webhook"),
    "no secret": Wrong("SENTINAI_SECRET_ACME__PSP", auth=KEY, secret=None),
    "no provider": Wrong("no tool provider 'fax'", provider="fax"),
}  # fmt: skip


def wrong_tool(server: Server, wrong: Wrong) -> Tool:
    endpoint = {"headers": wrong.headers} | ({"body": wrong.body} if wrong.body else {})
    auth = {"auth": wrong.auth} if wrong.auth else {}
    return tool(server.url + wrong.path, endpoint=endpoint, provider=wrong.provider, **auth)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_cannot_be_sent_is_refused_and_hurts_no_other_call(client: httpx.AsyncClient, wrong: Wrong) -> None:
    with served(lambda _: Answer()) as server:
        invoke = invoker(client, wrong.secret)
        error, opened = await ended(invoke, call(wrong_tool(server, wrong), wrong.content))
        assert server.asked == []
        assert (await invoke(call(tool(server.url)))).status_code == 200
    assert wrong.said in str(error)
    assert "s3cret" not in repr((str(error), error.__cause__))
    fate = fate_of(error)
    assert (fate.sent, fate.ours, opened) == (False, True, False)


LABEL = "a" * 63


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a..example.com/", "'a..example.com' has an empty part"),
        ("https://.example.com/", "has an empty part"),
        ("https://./", "has an empty part"),
        (f"https://{LABEL}a.example.com/", "has 64 characters; 63 is the limit"),
        (f"https://{'.'.join([LABEL] * 4)}.com/", "has 259 characters; 253 is the limit"),
        ("https://psp.example.com:70000/", "port of the URL is out of range"),
        ("https://psp.example.com:0/", "port of the URL is out of range"),
        ("https://psp.example.com:-1/", "port of the URL is out of range"),
        ("https://psp.example.com:x/", "port of the URL is out of range"),
        ("https://psp example.com/", "a character that no host name may hold"),
        ("https://psp%2eexample.com/", "a character that no host name may hold"),
        ("https://xn--/", "IDNA"),
        (f"https://ä{LABEL}.example.com/", "malformed"),
        ("https://1.2.3.999/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://[::zz]/", "malformed"),
        (" https://psp.example.com/", "http or https"),
        ("https://psp.example.com/\ud800", "the URL holds text that is not Unicode"),
        ("ftp://psp.example.com/", "http or https"),
        ("https:///x", "http or https"),
        ("https://me:pw@psp.example.com/", "user info"),
        ("https://${input.v}/x", "written out"),
    ],
)
async def test_a_url_that_leads_nowhere_is_refused_before_its_name_is_looked_up(url: str, said: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        pytest.fail(f"{host} was looked up")

    async with outbound_client(AddressGuard(["*"], resolve)) as client:
        error, opened = await ended(invoker(client), call(tool(url), {"v": "x"}))
    assert isinstance(error, Unsendable)
    assert said in str(error)
    assert (fate_of(error), opened) == (OURS, False)


@pytest.mark.parametrize(
    "url", ["http://{}/x", "http://{}./x", "http://a_b.{}/x", f"http://{LABEL}.{{}}/x", "http://ä.{}/x"]
)
async def test_a_host_name_that_can_be_looked_up_is_not_refused(url: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    with served(lambda _: Answer()) as server:
        port = server.url.rpartition(":")[2]
        async with outbound_client(AddressGuard(["127.0.0.1"], resolve)) as client:
            asked = url.replace("/x", f":{port}/x").format("example.com")
            assert (await invoker(client)(call(tool(asked)))).status_code == 200


async def test_a_url_as_long_as_the_library_allows_is_sent(client: httpx.AsyncClient) -> None:
    with served(lambda _: Answer(204, b"")) as server:
        rest = URL_CHARS_MAX - len(server.url) - 1
        assert (await invoker(client)(call(tool(f"{server.url}/{'x' * (rest - 9_000)}")))).status_code == 204
        with pytest.raises(Unsendable, match="65,537 characters"):
            await invoker(client)(call(tool(f"{server.url}/{'x' * (rest + 1)}")))


async def test_what_only_the_library_refuses_is_ours_too_and_does_not_show_the_header(
    client: httpx.AsyncClient,
) -> None:
    """On a new connection, and on one that has carried a request before."""
    with served(lambda _: Answer()) as server:
        for _ in range(2):
            request = client.build_request("POST", server.url, headers={"X-Key": " s3cret"})
            with pytest.raises(Unsendable, match="LocalProtocolError") as caught:
                await send(client, request)
            assert caught.value.fate == OURS
            assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
            await send(client, client.build_request("POST", server.url))
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("url", "headers"),
    [("https://x/\x01", {}), ("https://x/\ud800", {}), ("https://xn--/", {}), ("https://x/", {"X": "é"})],
)
def test_what_the_library_does_not_build_is_ours(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(Unsendable, match="refuses to build") as caught:
        build(httpx.AsyncClient(), "POST", url, headers, None)
    assert caught.value.fate == OURS


async def test_an_address_that_the_guard_refuses_is_ours() -> None:
    async with outbound_client(AddressGuard()) as client:
        error, opened = await ended(invoker(client), call(tool("http://127.0.0.1:9/x")))
    assert isinstance(error, Denied)
    assert (fate_of(error), opened) == (OURS, False)


async def test_a_secret_that_is_missing_is_ours(client: httpx.AsyncClient) -> None:
    error, opened = await ended(invoker(client, None), call(tool("http://127.0.0.1:9/x", auth=KEY)))
    assert isinstance(error, Missing)
    assert (fate_of(error), opened) == (OURS, False)


# On the way to the tool: not sent, but its circuit hears of it.


async def never(_: str, __: int) -> Sequence[str]:
    await asyncio.Event().wait()
    raise AssertionError


async def unknown(_: str, __: int) -> Sequence[str]:
    raise OSError("no such host")


async def nothing(_: str, __: int) -> Sequence[str]:
    return []


@pytest.mark.parametrize(
    ("resolve", "said"),
    [
        (never, r"no connection came about within 0\.4 s"),
        (unknown, "cannot be resolved"),
        (nothing, "has no address"),
    ],
)
async def test_a_name_that_is_not_found_in_time_was_not_sent_to(resolve: Any, said: str) -> None:
    async with outbound_client(AddressGuard(resolve=resolve)) as client:
        of = call(tool("https://psp.example.com/x", endpoint={"timeout": DEADLINE}))
        error, opened = await ended(invoker(client), of)
        with pytest.raises(Unanswered, match=said):
            raise error
    assert (fate_of(error), opened) == (THEIRS, True)


@asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """A port whose queue is full: whoever connects now waits."""
    loop, held = asyncio.get_running_loop(), []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        try:
            for _ in range(8):
                held.append(socket.socket())
                held[-1].setblocking(False)
                async with asyncio.timeout(0.1):
                    await loop.sock_connect(held[-1], listening.getsockname())
            pytest.fail("the queue of the socket does not fill up")
        except TimeoutError:
            yield listening.getsockname()[1]
        finally:
            for each in held:
                each.close()


class Heard:
    """What a server got, by connection."""

    def __init__(self) -> None:
        self.connections: list[bytearray] = []

    @property
    def all(self) -> bytes:
        return b"".join(self.connections)


@asynccontextmanager
async def hearing(
    said: bytes | None = None, tls: ssl.SSLContext | None = None, close: bool = False
) -> AsyncIterator[tuple[int, Heard]]:
    """A server that notes what it hears, says one thing if any, and then closes or keeps silent."""
    heard, tasks = Heard(), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        arrived = bytearray()
        heard.connections.append(arrived)
        try:
            while chunk := await reader.read(65_536):
                arrived += chunk
                if said is not None:
                    writer.write(said)
                    await writer.drain()
                if close:
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        for task in tasks:
            task.cancel()


async def test_a_deadline_while_connecting_was_not_sent(client: httpx.AsyncClient) -> None:
    async with full_backlog() as port:
        of = call(tool(f"http://127.0.0.1:{port}/x", endpoint={"timeout": DEADLINE}))
        error, opened = await ended(invoker(client), of)
    assert "no connection came about within" in str(error)
    assert (type(error), fate_of(error), opened) == (Unanswered, THEIRS, True)


async def test_a_port_where_nobody_listens_was_not_sent_to(client: httpx.AsyncClient) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        of = call(tool(f"http://127.0.0.1:{reserved.getsockname()[1]}/x"))
        error, opened = await ended(invoker(client), of)
    assert (type(error), fate_of(error), opened) == (Unanswered, THEIRS, True)


@pytest.mark.parametrize(
    ("said", "close", "why"),
    [
        (None, False, "no connection came about within"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "cannot connect"),
        (None, True, "cannot connect"),
    ],
    ids=["silent", "speaks no TLS", "hangs up"],
)
async def test_a_handshake_that_does_not_end_well_is_not_the_request(
    client: httpx.AsyncClient, said: bytes | None, close: bool, why: str
) -> None:
    async with hearing(said, close=close) as (port, heard):
        of = call(tool(f"https://127.0.0.1:{port}/x", endpoint={"timeout": DEADLINE}))
        error, opened = await ended(invoker(client), of)
    assert why in str(error)
    assert heard.all[:1] == b"\x16"  # a handshake did arrive
    assert (type(error), fate_of(error), opened) == (Unanswered, THEIRS, True)


def certified() -> tuple[trustme.CA, ssl.SSLContext]:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context


async def test_a_certificate_that_nobody_vouches_for_gets_no_request(client: httpx.AsyncClient) -> None:
    async with hearing(tls=certified()[1]) as (port, heard):
        error, opened = await ended(invoker(client), call(tool(f"https://127.0.0.1:{port}/x")))
        assert heard.all == b""
    assert (type(error), fate_of(error), opened) == (Unanswered, THEIRS, True)


@pytest.mark.parametrize("pool_s", [5.0, 0.02])
async def test_waiting_for_a_pooled_connection_is_not_the_tools_fault(
    monkeypatch: pytest.MonkeyPatch, pool_s: float
) -> None:
    """Ended by the deadline, or by the pool's own timeout."""
    monkeypatch.setattr(outbound, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(outbound, "POOL_TIMEOUT_S", pool_s)
    async with hearing() as (port, heard), outbound_client(AddressGuard(["127.0.0.1"])) as client:
        invoke = invoker(client)
        held = asyncio.create_task(invoke(call(tool(f"http://127.0.0.1:{port}/first"))))
        await until(lambda: b"/first" in heard.all)
        error, opened = await ended(
            invoke, call(tool(f"http://127.0.0.1:{port}/second", endpoint={"timeout": DEADLINE}))
        )
        assert b"/second" not in heard.all
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    assert "no connection" in str(error)
    assert (type(error), fate_of(error), opened) == (Unanswered, OURS, False)


# After the first byte.


async def until(true: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if true():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come true within 5 s")


CUT_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
DIRTY = b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "close", "why"),
    [
        (None, False, "no answer within"),
        (CUT_SHORT, False, "no answer within"),
        (None, True, "broke off"),
        (CUT_SHORT, True, "broke off"),
        (DIRTY, False, "broke off"),
        (b"\x00\x01", True, "broke off"),
    ],
    ids=["silent", "half an answer", "hangs up", "hangs up within the answer", "wrong length", "no HTTP"],
)
async def test_what_ends_after_the_first_byte_may_have_been_done(
    client: httpx.AsyncClient, said: bytes | None, close: bool, why: str
) -> None:
    async with hearing(said, close=close) as (port, heard):
        of = call(tool(f"http://127.0.0.1:{port}/x", endpoint={"timeout": DEADLINE}))
        error, opened = await ended(invoker(client), of)
    assert why in str(error)
    assert b"POST /x" in heard.all
    assert (type(error), fate_of(error), opened) == (Unanswered, SENT, True)


async def test_a_request_that_is_cut_off_while_it_is_written_may_have_been_done(client: httpx.AsyncClient) -> None:
    """Its body fills every buffer of a server that reads nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        of = tool(f"http://127.0.0.1:{listening.getsockname()[1]}/x", endpoint={"timeout": DEADLINE})
        error, opened = await ended(invoker(client), call(of, {"v": "x" * 8_000_000}))
    assert (type(error), fate_of(error), opened) == (Unanswered, SENT, True)


async def test_behind_tls_the_first_byte_is_that_of_the_request(client: httpx.AsyncClient) -> None:
    authority, context = certified()
    pool: Any = client._transport
    authority.configure_trust(pool._pool._ssl_context)
    async with hearing(tls=context) as (port, heard):
        of = call(tool(f"https://127.0.0.1:{port}/x", endpoint={"timeout": "500ms"}))
        with pytest.raises(Unanswered, match="no answer within") as caught:
            await invoker(client)(of)
        assert b"POST /x" in heard.all
    assert caught.value.fate == SENT


async def test_behind_tls_what_only_the_library_refuses_is_ours_too(client: httpx.AsyncClient) -> None:
    authority, context = certified()
    pool: Any = client._transport
    authority.configure_trust(pool._pool._ssl_context)
    async with hearing(tls=context) as (port, heard):
        request = client.build_request("POST", f"https://127.0.0.1:{port}/x", headers={"X-Key": " s3cret"})
        with pytest.raises(Unsendable, match="LocalProtocolError") as caught:
            await send(client, request)
        assert heard.all == b""
    assert caught.value.fate == OURS


class Twice:
    """Makes two requests in one attempt."""

    watched = True

    def __init__(self, client: httpx.AsyncClient, *urls: str) -> None:
        self._client = client
        self._urls = urls

    async def call(self, call: ToolCall) -> ToolResult:
        for url in self._urls:
            result = await send(self._client, self._client.build_request("POST", url))
        return result


async def test_what_was_sent_stays_sent_when_a_second_request_does_not_connect(client: httpx.AsyncClient) -> None:
    with served(lambda _: Answer()) as server, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        twice = Twice(client, server.url, f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(Unanswered) as caught:
            await Invoker({"http": twice})(call(tool(server.url)))
    assert caught.value.fate == SENT


@pytest.mark.parametrize(
    ("status", "body", "kind", "fate"),
    [
        (404, b"no", Refused, Fate(sent=True, refused=True)),
        (307, b"", Refused, Fate(sent=True, refused=True)),
        (429, b"", Unanswered, Fate(sent=True, refused=True)),
        (503, b"", Unanswered, SENT),
        (200, b"<p>", AnswerUnusable, SENT),
        (302, b"", AnswerUnusable, SENT),
    ],
)
async def test_an_answer_says_what_is_known(
    client: httpx.AsyncClient, status: int, body: bytes, kind: type[Exception], fate: Fate
) -> None:
    with served(lambda _: Answer(status, body)) as server:
        error, opened = await ended(invoker(client), call(tool(server.url, outputSchema={"type": "object"})))
    assert (type(error), fate_of(error), opened) == (kind, fate, kind is Unanswered)


async def test_attempts_that_share_a_connection_do_not_share_a_fate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is answered; of the next two one waits for the connection and one is cut off on it."""
    monkeypatch.setattr(outbound, "CONNECTIONS_MAX", 1)
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if await reader.read(65_536):
            silent.set()
            await reader.read(65_536)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, outbound_client(AddressGuard(["127.0.0.1"])) as single:
        invoke, port = invoker(single), server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/x"
        assert (await invoke(call(tool(url)))).output == {}
        second = asyncio.create_task(invoke(call(tool(url))))
        async with asyncio.timeout(5):
            await silent.wait()
        with pytest.raises(Unanswered) as third:
            await invoke(call(tool(url, endpoint={"timeout": DEADLINE})))
        second.cancel()
        with pytest.raises(asyncio.CancelledError) as cut_off:
            await ended_task(second)
    assert (third.value.fate, fate_of(cut_off.value).sent) == (OURS, True)


# Cut off from outside.


async def test_a_call_that_is_cancelled_knows_whether_it_was_sent(client: httpx.AsyncClient) -> None:
    async with full_backlog() as full, hearing() as (port, heard):
        invoke = invoker(client)
        before = asyncio.create_task(invoke(call(tool(f"http://127.0.0.1:{full}/x"))))
        after = asyncio.create_task(invoke(call(tool(f"http://127.0.0.1:{port}/x"))))
        await until(lambda: b"POST /x" in heard.all)
        fates = []
        for task in (before, after):
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await ended_task(task)
            fates.append(fate_of(caught.value))
    assert fates == [Fate(sent=False, ours=True), Fate(sent=True, ours=True)]


async def ended_task(task: asyncio.Task[Any]) -> None:
    """Wait first: who is waiting when a task is cancelled gets an error of his own."""
    await asyncio.wait([task])
    await task


# Every provider there is.


@pytest.mark.parametrize(("name", "build_provider"), [(entry.name, entry.build) for entry in CATALOG])
async def test_a_provider_that_is_listed_is_watched_and_tells_the_truth(
    client: httpx.AsyncClient, name: str, build_provider: Any
) -> None:
    provider = build_provider(client, SecretStore({}, None))
    assert provider.watched
    async with full_backlog() as full, hearing() as (port, heard):
        for at, sent in ((full, False), (port, True)):
            url = f"http://127.0.0.1:{at}/x"
            of = call(tool(url, provider=name, endpoint={"timeout": DEADLINE}))
            ended = (await asyncio.gather(Invoker({name: provider})(of), return_exceptions=True))[0]
            if isinstance(ended, BaseException):
                assert (type(ended), fate_of(ended).sent) == (Unanswered, sent)
            assert bool(heard.all) is (sent and isinstance(ended, BaseException))
