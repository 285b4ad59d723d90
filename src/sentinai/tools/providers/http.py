"""`http`: call an endpoint as declared, with the caller's input in URL, headers and body."""

import base64

import httpx

from sentinai.packs.expressions import Activation, Scope, activation
from sentinai.security.secrets import SecretStore
from sentinai.tools.fate import Unsendable
from sentinai.tools.outbound import build, send
from sentinai.tools.provider import ToolCall, ToolResult
from sentinai.tools.request import CONTROL, expand_url, header_value, json_body, require_header_name, utf8

WITHOUT_BODY = frozenset({"GET", "DELETE", "HEAD"})


class HttpProvider:
    watched = True

    def __init__(self, client: httpx.AsyncClient, secrets: SecretStore) -> None:
        self._client = client
        self._secrets = secrets

    async def call(self, call: ToolCall) -> ToolResult:
        endpoint = call.tool.endpoint
        if endpoint is None:
            raise Unsendable(f"tool {call.tool.name!r} has no endpoint")
        facts = activation(Scope.TOOL, {"input": call.input})
        url = expand_url(str(endpoint.url.source), facts)
        headers = _headers(call, facts)
        secrets = self._authorize(call, headers)
        body = None
        if endpoint.method not in WITHOUT_BODY:
            body = json_body(endpoint.body.render(facts) if endpoint.body else call.input)
            headers.setdefault("Content-Type", "application/json")
        request = build(self._client, endpoint.method, url, headers, body)
        return await send(self._client, request, secrets=secrets, text_allowed=call.tool.output_schema is None)

    def _authorize(self, call: ToolCall, headers: httpx.Headers) -> tuple[str, ...]:
        """Add the credential; returns every form in which it is sent, so that answers repeating it can be cleaned."""
        auth = call.tool.auth
        if auth.type == "none" or auth.secret is None:
            return ()
        secret = self._secrets.resolve(call.tenant_id, auth.secret)
        if auth.type == "basic":
            pair = _basic(auth.username or "", secret)
            headers["Authorization"] = header_value("Authorization", f"Basic {pair}")
            return pair, secret
        if auth.type == "bearer":
            headers["Authorization"] = f"Bearer {header_value('Authorization', secret)}"
        else:
            name = auth.header or "X-Api-Key"
            require_header_name(name)
            headers[name] = header_value(name, secret)
        return (secret,)


def _basic(username: str, secret: str) -> str:
    """Neither may hold a control character, nor the name a colon, which ends it (RFC 7617)."""
    if ":" in username:
        raise Unsendable("the user name of basic auth must not hold a colon")
    for what, text in (("the user name of basic auth", username), ("the secret", secret)):
        if CONTROL.search(text):
            raise Unsendable(f"{what} holds a control character")
    return base64.b64encode(utf8("the secret", f"{username}:{secret}")).decode()


def _headers(call: ToolCall, facts: Activation) -> httpx.Headers:
    """What the pack declares, then what it cannot override."""
    headers = httpx.Headers()
    declared = call.tool.endpoint.headers if call.tool.endpoint else {}
    for name, template in declared.items():
        require_header_name(name)
        headers[name] = header_value(name, template.render(facts))
    headers["Idempotency-Key"] = call.idempotency_key
    return headers
