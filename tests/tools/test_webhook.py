"""Can a receiver be sure that a webhook is ours, unchanged and recent?"""

import hashlib
import hmac
import json

import httpx
import pytest
from calls import Answer, Asked, call, served, tool
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Missing, Rejected
from sentinai.packs.effective import Channel
from sentinai.security.secrets import SecretStore
from sentinai.tools.providers.webhook import SIGNATURE_HEADER, WebhookProvider, signature
from sentinai.workers.channels import channel_tool

SECRET = "planted-webhook-secret"
SECRETS = SecretStore({"SENTINAI_SECRET_ACME__HOOK": SECRET}, None)
AT = 1_700_000_000.9


def ok(_: Asked) -> Answer:
    return Answer()


def provider(client: httpx.AsyncClient) -> WebhookProvider:
    return WebhookProvider(client, SECRETS, clock=lambda: AT)


async def test_the_receiver_can_verify_what_arrived(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        channel = channel_tool(Channel("ops", "webhook", f"{server.url}/hook", "HOOK"))
        await provider(client).call(call(channel, {"message": "é", "n": 1}, key="execution-7"))
    asked = server.asked[0]
    expected = hmac.new(SECRET.encode(), b"1700000000." + asked.body, hashlib.sha256).hexdigest()
    assert asked.headers[SIGNATURE_HEADER] == f"t=1700000000,v1={expected}"
    assert json.loads(asked.body) == {"message": "é", "n": 1}
    assert (asked.method, asked.path, asked.headers["Idempotency-Key"]) == ("POST", "/hook", "execution-7")
    assert asked.headers["Content-Type"] == "application/json"


async def test_the_secret_itself_is_not_sent(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        await provider(client).call(call(channel_tool(Channel("ops", "webhook", server.url, "HOOK"))))
    assert SECRET not in str(server.asked)


async def test_a_channel_without_a_secret_is_not_signed(client: httpx.AsyncClient) -> None:
    with served(ok) as server:
        await provider(client).call(call(channel_tool(Channel("ops", "webhook", server.url, None))))
    assert SIGNATURE_HEADER not in server.asked[0].headers


async def test_a_secret_that_is_not_set_sends_nothing_unsigned(client: httpx.AsyncClient) -> None:
    with served(ok) as server, pytest.raises(Missing):
        await provider(client).call(call(channel_tool(Channel("ops", "webhook", server.url, "OTHER"))))
    assert server.asked == []


async def test_a_receiver_may_answer_with_text(client: httpx.AsyncClient) -> None:
    with served(lambda _: Answer(200, b"ok")) as server:
        result = await provider(client).call(call(channel_tool(Channel("ops", "webhook", server.url, "HOOK"))))
    assert result.output == {"status_code": 200, "text": "ok"}


async def test_a_secret_that_the_receiver_repeats_is_cut_out(client: httpx.AsyncClient) -> None:
    with served(lambda _: Answer(400, SECRET.encode())) as server, pytest.raises(Rejected) as caught:
        await provider(client).call(call(channel_tool(Channel("ops", "webhook", server.url, "HOOK"))))
    assert SECRET not in str(caught.value)


async def test_a_webhook_without_a_url_is_refused(client: httpx.AsyncClient) -> None:
    with pytest.raises(Rejected, match="no URL"):
        await provider(client).call(call(tool(provider="webhook")))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 2**40), st.binary(), st.binary())
def test_another_body_secret_or_time_has_another_signature(secret: str, at: int, body: bytes, other: bytes) -> None:
    signed = signature(secret, at, body)
    assert signature(secret, at, body) == signed
    assert signature(secret, at + 1, body) != signed
    assert signature(secret + "x", at, body) != signed
    assert (signature(secret, at, other) == signed) == (other == body)
