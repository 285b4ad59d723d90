"""Does a call reach exactly the place its pack names, and is whatever comes back handled?"""

import base64
import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from calls import Answer, Asked, Server, call, served, tool

from sentinai.errors import Denied, Missing, Rejected, SentinaiError
from sentinai.packs.effective import Tool
from sentinai.security.addresses import AddressGuard
from sentinai.security.secrets import SecretStore
from sentinai.tools.fate import BEGINNING_CHARS_MAX, AnswerUnusable, Fate, Refused, Said, Unanswered, fate_of
from sentinai.tools.outbound import ANSWER_BYTES_MAX, RETRY_AFTER_MAX_S, outbound_client
from sentinai.tools.provider import ToolResult
from sentinai.tools.providers.http import HttpProvider

SECRET = "planted-tool-secret"
SECRETS = SecretStore({"SENTINAI_SECRET_ACME__PSP": SECRET}, None)
API_KEY = {"type": "apiKey", "header": "X-Psp", "secret": "PSP"}


def ok(_: Asked) -> Answer:
    return Answer()


async def charged(client: httpx.AsyncClient, of: Tool, content: Any = None) -> ToolResult:
    return await HttpProvider(client, SECRETS).call(call(of, content))


async def answered(client: httpx.AsyncClient, answer: Answer | None, **definition: Any) -> ToolResult:
    with served(lambda _: answer) as server:
        return await charged(client, tool(server.url, **definition))


async def test_the_input_is_the_body_and_the_json_answer_the_output(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        result = await charged(client, tool(f"{server.url}/charges"), {"amount": 5, "é": None})
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("POST", "/charges")
    assert json.loads(asked.body) == {"amount": 5, "é": None}
    assert asked.headers["Content-Type"] == "application/json"
    assert result == ToolResult({"status": "ok"}, 200, None)


async def test_a_declared_body_and_headers_take_their_values_from_the_input(client: httpx.AsyncClient) -> None:
    endpoint = {
        "method": "PUT",
        "headers": {"X-Ref": "r-${input.id}"},
        "body": {"amount": "${input.amount}", "kind": "charge"},
    }
    with served(ok) as server:
        await charged(client, tool(server.url, endpoint=endpoint), {"id": "a", "amount": 5, "more": 1})
    assert server.asked[0].method == "PUT"
    assert server.asked[0].headers["X-Ref"] == "r-a"
    assert json.loads(server.asked[0].body) == {"amount": 5, "kind": "charge"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_method_without_a_body_sends_none(client: httpx.AsyncClient, method: str) -> None:
    with served(ok) as server:
        await charged(client, tool(server.url, endpoint={"method": method}), {"id": "a"})
    assert (server.asked[0].method, server.asked[0].body) == (method, b"")


async def test_every_attempt_carries_the_same_idempotency_key(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        of = tool(server.url, endpoint={"headers": {"idempotency-key": "forged"}})
        for _ in range(2):
            await HttpProvider(client, SECRETS).call(call(of, key="execution-7"))
    values = [[v for k, v in a.headers.items() if k.lower() == "idempotency-key"] for a in server.asked]
    assert values == [["execution-7"], ["execution-7"]]


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "none"}, "Authorization", None),
        (API_KEY, "X-Psp", SECRET),
        ({"type": "apiKey", "secret": "PSP"}, "X-Api-Key", SECRET),
        ({"type": "bearer", "secret": "PSP"}, "Authorization", f"Bearer {SECRET}"),
        (
            {"type": "basic", "username": "me", "secret": "PSP"},
            "Authorization",
            "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode(),
        ),
    ],
)
async def test_the_credential_goes_where_the_kind_of_auth_says(
    client: httpx.AsyncClient, auth: dict[str, str], header: str, value: str | None
) -> None:
    with served(ok) as server:
        await charged(client, tool(server.url, auth=auth))
    assert server.asked[0].headers.get(header) == value


async def test_a_secret_that_is_not_set_ends_the_call_before_anything_is_sent(client: httpx.AsyncClient) -> None:
    with served(ok) as server, pytest.raises(Missing, match="SENTINAI_SECRET_ACME__OTHER"):
        await charged(client, tool(server.url, auth={"type": "bearer", "secret": "OTHER"}))
    assert server.asked == []


# What an input may try in a URL.


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("a b", "/charges/a%20b/retry"),
        ("a?x=1", "/charges/a%3Fx%3D1/retry"),
        ("a#b", "/charges/a%23b/retry"),
        ("a/b", "/charges/a%2Fb/retry"),
        ("a%2fb", "/charges/a%252fb/retry"),
        ("@evil.example", "/charges/%40evil.example/retry"),
        ("é", "/charges/%C3%A9/retry"),
        ("...", "/charges/.../retry"),
        (7, "/charges/7/retry"),
    ],
)
async def test_an_input_stays_in_its_segment_of_the_path(client: httpx.AsyncClient, given: Any, path: str) -> None:
    with served(ok) as server:
        await charged(client, tool(f"{server.url}/charges/${{input.id}}/retry"), {"id": given})
    assert server.asked[0].path == path


@pytest.mark.parametrize(
    "given",
    ["", ".", "..", "../admin", "a/../../admin", "..\\admin", "a\r\nX-Evil: 1", "a\n", None, True, [], {}, "x" * 3000],
)
async def test_an_input_that_would_change_the_path_is_refused(client: httpx.AsyncClient, given: Any) -> None:
    with served(ok) as server, pytest.raises(Rejected):
        await charged(client, tool(f"{server.url}/charges/${{input.id}}/retry"), {"id": given})
    assert server.asked == []


async def test_an_input_stays_in_its_parameter_of_the_query(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        await charged(client, tool(f"{server.url}/find?id=${{input.id}}&limit=1"), {"id": "a&limit=999#"})
    assert server.asked[0].path == "/find?id=a%26limit%3D999%23&limit=1"


@pytest.mark.parametrize(
    "url",
    [
        "https://${input.host}/x",
        "https://psp.example.com${input.host}/x",
        "https://${input.host}.example.com/x",
        "https://psp.example.com:${input.host}/x",
        "${input.host}",
        "https:${input.host}",
    ],
)
@pytest.mark.parametrize("host", ["evil.example", ".evil.example", "@evil.example", "80", "https://evil.example/"])
async def test_an_input_cannot_choose_the_host(client: httpx.AsyncClient, url: str, host: str) -> None:
    with pytest.raises(Rejected):
        await charged(client, tool(url), {"host": host})


@pytest.mark.parametrize(
    "url", ["ftp://psp.example.com/x", "file:///etc/passwd", "https://me:pw@psp.example.com/", "https://", "https://[::/", "https://x:0/", "x"]
)  # fmt: skip
async def test_a_url_that_is_not_plain_http_to_a_host_is_refused(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(Rejected):
        await charged(client, tool(url))


# What an input may try in a header.


@pytest.mark.parametrize("given", ["a\r\nX-Evil: 1", "a\nb", "a\x7fb", "é", "x" * 5000, ["a"], {"a": 1}])
async def test_an_input_cannot_end_its_header(client: httpx.AsyncClient, given: Any) -> None:
    with served(ok) as server, pytest.raises(Rejected):
        await charged(client, tool(server.url, endpoint={"headers": {"X-Ref": "${input.id}"}}), {"id": given})
    assert server.asked == []


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "X Y", "X:Y", "X\r\nY"])
async def test_a_header_that_belongs_to_the_connection_cannot_be_set(client: httpx.AsyncClient, name: str) -> None:
    with served(ok) as server, pytest.raises(Rejected, match="not a header"):
        await charged(client, tool(server.url, endpoint={"headers": {name: "x"}}))
    assert server.asked == []


async def test_a_secret_with_a_line_break_is_refused_and_not_shown(client: httpx.AsyncClient) -> None:
    store = SecretStore({"SENTINAI_SECRET_ACME__PSP": f"{SECRET}\r\nX-Evil: 1"}, None)
    with served(ok) as server, pytest.raises(Rejected) as caught:
        await HttpProvider(client, store).call(call(tool(server.url, auth=API_KEY)))
    assert SECRET not in str(caught.value)
    assert server.asked == []


# Where a call may go.


async def test_this_machine_is_not_reached_unless_the_operator_allows_it() -> None:
    async with outbound_client(AddressGuard()) as guarded:
        with served(ok) as server, pytest.raises(Denied, match="not public"):
            await charged(guarded, tool(server.url))
    assert server.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_not_followed(client: httpx.AsyncClient, status: int) -> None:
    with served(ok) as inner:
        with pytest.raises(Rejected, match=str(status)) as caught:
            await answered(client, Answer(status, b"", {"Location": f"{inner.url}/admin"}), auth=API_KEY)
        assert inner.asked == []
    assert fate_of(caught.value).may_be_done is (status not in (307, 308))


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with outbound_client(AddressGuard(["127.0.0.1"])) as direct:
        assert (await answered(direct, Answer())).status_code == 200


async def test_a_cookie_of_one_call_is_not_sent_with_the_next(client: httpx.AsyncClient) -> None:
    with served(lambda _: Answer(headers={"Set-Cookie": "sid=abc; Path=/"})) as server:
        for _ in range(2):
            await charged(client, tool(server.url))
    assert [a.headers.get("Cookie") for a in server.asked] == [None, None]


# What may come back.


@pytest.mark.parametrize(
    ("body", "output"), [(b"", {}), (b" \n", {}), (b"[1]", [1]), (b"null", None), (b'"x"', "x"), (b'{"a": 1.5}', {"a": 1.5})]
)  # fmt: skip
async def test_a_json_answer_is_the_output(client: httpx.AsyncClient, body: bytes, output: Any) -> None:
    assert (await answered(client, Answer(201, body), outputSchema={})) == ToolResult(output, 201)


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000])
async def test_an_answer_that_is_not_json_is_refused_where_a_schema_has_to_hold(
    client: httpx.AsyncClient, body: bytes
) -> None:
    with pytest.raises(AnswerUnusable, match="not JSON") as caught:
        await answered(client, Answer(200, body, {"Content-Type": "Text/HTML"}), outputSchema={"type": "object"})
    assert caught.value.said == Said(200, "text/html", body.decode("utf-8", "replace")[:BEGINNING_CHARS_MAX])
    assert caught.value.fate == Fate(sent=True)


async def test_the_beginning_of_an_answer_holds_no_secret_and_no_personal_data(client: httpx.AsyncClient) -> None:
    said = f"<p>{SECRET} ada@example.com password=hunter22".encode()
    with pytest.raises(AnswerUnusable) as caught:
        await answered(client, Answer(200, said), auth=API_KEY, outputSchema={"type": "object"})
    beginning = caught.value.said.beginning
    assert beginning.startswith("<p>*** ")
    assert [part for part in (SECRET, "ada@", "hunter22") if part in beginning] == []


async def test_an_answer_that_is_not_json_is_text_where_no_schema_asks_for_more(client: httpx.AsyncClient) -> None:
    result = await answered(client, Answer(202, b"accepted \xff password=hunter22"))
    assert result.output == {"status_code": 202, "text": "accepted � password=***"}


async def test_an_answer_as_large_as_allowed_is_read(client: httpx.AsyncClient) -> None:
    body = b'"' + b"x" * (ANSWER_BYTES_MAX - 2) + b'"'
    assert len((await answered(client, Answer(200, body))).output) == ANSWER_BYTES_MAX - 2


async def test_an_answer_that_is_too_large_cannot_be_used_and_its_beginning_is_kept(client: httpx.AsyncClient) -> None:
    with pytest.raises(AnswerUnusable, match="larger than") as caught:
        await answered(client, Answer(200, b"1" * (ANSWER_BYTES_MAX + 1), {"Content-Type": "text/plain; charset=x"}))
    assert caught.value.said == Said(200, "text/plain", "1" * BEGINNING_CHARS_MAX)
    assert caught.value.fate == Fate(sent=True)


@pytest.mark.parametrize(("status", "may_be_done"), [(400, False), (429, False), (503, True)])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(0, b"x" * (ANSWER_BYTES_MAX + 1)),
        Answer(0, b"\x1f\x8b", {"Content-Encoding": "gzip"}),
        Answer(0, b"x", {"Content-Length": "99", "Connection": "close"}),
    ],
    ids=["too large", "packed", "broken off"],
)
async def test_a_status_says_what_became_of_the_call_whatever_comes_as_its_body(
    client: httpx.AsyncClient, status: int, may_be_done: bool, answer: Answer
) -> None:
    with pytest.raises((Refused, Unanswered), match=f"answered {status}") as caught:
        await answered(client, answer._replace(status=status))
    assert fate_of(caught.value).may_be_done is may_be_done


async def test_a_packed_answer_is_refused(client: httpx.AsyncClient) -> None:
    with pytest.raises(AnswerUnusable, match="gzip") as caught:
        await answered(client, Answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}))
    assert caught.value.said == Said(200, None, "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422, 451])
async def test_a_refusal_is_not_tried_again(client: httpx.AsyncClient, status: int) -> None:
    with pytest.raises(Refused, match=f"answered {status}: no such charge") as caught:
        await answered(client, Answer(status, b"no such charge"))
    assert caught.value.status_code == status
    assert not caught.value.fate.may_be_done


@pytest.mark.parametrize(
    ("status", "may_be_done"), [(408, False), (425, False), (429, False), (500, True), (502, True), (503, True), (504, True), (599, True)]
)  # fmt: skip
async def test_what_may_succeed_later_says_whether_it_may_have_been_done(
    client: httpx.AsyncClient, status: int, may_be_done: bool
) -> None:
    with pytest.raises(Unanswered, match=f"answered {status}") as caught:
        await answered(client, Answer(status, b"busy"))
    assert (caught.value.status_code, caught.value.fate) == (status, Fate(sent=True, refused=not may_be_done))


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("999999999999999999999", RETRY_AFTER_MAX_S),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\xb2", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", RETRY_AFTER_MAX_S),
    ],
)
async def test_retry_after_is_obeyed_within_bounds(client: httpx.AsyncClient, value: str, wait_s: float | None) -> None:
    with pytest.raises(Unanswered) as caught:
        await answered(client, Answer(503, b"", {"Retry-After": value}))
    assert caught.value.fate.retry_after_s == wait_s


async def test_retry_after_may_be_a_date(client: httpx.AsyncClient) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    with pytest.raises(Unanswered) as caught:
        await answered(client, Answer(429, b"", {"Retry-After": later}))
    assert 60 < (caught.value.fate.retry_after_s or 0) <= 120


async def test_a_connection_that_breaks_off_may_have_done_it(client: httpx.AsyncClient) -> None:
    with pytest.raises(Unanswered, match="broke off") as caught:
        await answered(client, None)
    assert caught.value.fate == Fate(sent=True)


async def test_an_answer_that_is_shorter_than_announced_may_have_done_it(client: httpx.AsyncClient) -> None:
    with pytest.raises(Unanswered, match="broke off") as caught:
        await answered(client, Answer(200, b"{}", {"Content-Length": "99", "Connection": "close"}))
    assert caught.value.fate == Fate(sent=True)


async def test_a_port_where_nobody_listens_has_not_done_it(client: httpx.AsyncClient) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(Unanswered, match="cannot connect") as caught:
            await charged(client, tool(f"http://127.0.0.1:{reserved.getsockname()[1]}"))
    assert caught.value.fate == Fate(sent=False)


# What must not come back.

BASIC = {"type": "basic", "username": "me", "secret": "PSP"}


def echo(status: int) -> Any:
    """Answers with every header that came."""
    return lambda asked: Answer(status, json.dumps({"headers": dict(asked.headers), SECRET: 1}).encode())


def _needles(secret: str) -> list[str]:
    return [secret, base64.b64encode(f"me:{secret}".encode()).decode()]


@pytest.mark.parametrize("auth", [API_KEY, {"type": "bearer", "secret": "PSP"}, BASIC])
async def test_a_secret_that_the_tool_repeats_is_cut_out_of_the_output(
    client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    with served(echo(200)) as server:
        result = await charged(client, tool(server.url, auth=auth))
    assert result.status_code == 200
    assert [n for n in _needles(SECRET) if n in str(result.output)] == []


@pytest.mark.parametrize("status", [400, 503])
@pytest.mark.parametrize("auth", [API_KEY, {"type": "bearer", "secret": "PSP"}, BASIC])
async def test_a_secret_that_the_tool_repeats_is_cut_out_of_the_error(
    client: httpx.AsyncClient, auth: dict[str, str], status: int
) -> None:
    with served(echo(status)) as server, pytest.raises(SentinaiError, match=str(status)) as caught:
        await charged(client, tool(server.url, auth=auth))
    assert [n for n in _needles(SECRET) if n in f"{caught.value} {caught.value.details}"] == []


async def test_a_secret_at_the_edge_of_what_is_quoted_is_cut_out_as_a_whole(client: httpx.AsyncClient) -> None:
    padded = Answer(400, b"x" * 490 + SECRET.encode())
    with pytest.raises(Rejected) as caught:
        await answered(client, padded, auth=API_KEY)
    assert SECRET[:8] not in str(caught.value)


@pytest.mark.parametrize("secret", ['planted"quoted', "planted\\back", "planted/slash"])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_secret_that_json_writes_differently_is_cut_out_too(
    client: httpx.AsyncClient, secret: str, status: int
) -> None:
    store = SecretStore({"SENTINAI_SECRET_ACME__PSP": secret}, None)
    escaped = json.dumps({"seen": secret}).replace("/", "\\/").encode()
    with served(lambda _: Answer(status, escaped)) as server:
        said = await _said(HttpProvider(client, store), server)
    assert [part for part in ("quoted", "back", "slash") if part in said] == []


@pytest.mark.parametrize("body", [b'{"a\\u0000": ["b\\u0000"]}', b"plain \x00 text"])
@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_with_nul_becomes_one_that_a_database_keeps(
    client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    with served(lambda _: Answer(status, body)) as server:
        assert "\0" not in (await _said(HttpProvider(client, SECRETS), server)).replace("\\x00", "\0")


async def _said(provider: HttpProvider, server: Server) -> str:
    try:
        return str((await provider.call(call(tool(server.url, auth=API_KEY)))).output)
    except Rejected as error:
        return str(error)


async def test_other_secrets_in_an_error_are_masked(client: httpx.AsyncClient) -> None:
    with pytest.raises(Rejected) as caught:
        await answered(client, Answer(400, b"used sk_live_abcdefgh12345678 at postgresql://u:hunter22@db"))
    assert "abcdefgh" not in str(caught.value)
    assert "hunter22" not in str(caught.value)
