"""`webhook`: post the content as JSON, signed when a secret is named."""

import hashlib
import hmac
import time
from collections.abc import Callable

import httpx

from sentinai.packs.expressions import Scope, activation
from sentinai.security.secrets import SecretStore
from sentinai.tools.fate import Unsendable
from sentinai.tools.outbound import build, send
from sentinai.tools.provider import ToolCall, ToolResult
from sentinai.tools.request import expand_url, json_body, utf8

SIGNATURE_HEADER = "X-SentinAI-Signature"


class WebhookProvider:
    watched = True

    def __init__(self, client: httpx.AsyncClient, secrets: SecretStore, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._secrets = secrets
        self._clock = clock

    async def call(self, call: ToolCall) -> ToolResult:
        if call.tool.endpoint is None:
            raise Unsendable(f"webhook {call.tool.name!r} has no URL")
        url = expand_url(str(call.tool.endpoint.url.source), activation(Scope.TOOL, {"input": call.input}))
        body = json_body(call.input)
        headers = {"Content-Type": "application/json", "Idempotency-Key": call.idempotency_key}
        secrets: tuple[str, ...] = ()
        if call.tool.auth.secret:
            secrets = (self._secrets.resolve(call.tenant_id, call.tool.auth.secret),)
            utf8("the secret", secrets[0])
            headers[SIGNATURE_HEADER] = signature(secrets[0], int(self._clock()), body)
        request = build(self._client, "POST", url, headers, body)
        return await send(self._client, request, secrets=secrets, text_allowed=call.tool.output_schema is None)


def signature(secret: str, at: int, body: bytes) -> str:
    """`t=<unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>`; the receiver computes the same and compares."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
