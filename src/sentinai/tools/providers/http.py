"""`http`: call an endpoint as declared, with the caller's input in URL, headers and body."""

import base64
import re
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from sentinai.errors import Rejected
from sentinai.packs.effective import Tool
from sentinai.packs.expressions import Scope, Template, activation, split_template
from sentinai.security.secrets import SecretStore
from sentinai.tools.outbound import send
from sentinai.tools.provider import ToolCall, ToolResult

WITHOUT_BODY = frozenset({"GET", "DELETE", "HEAD"})
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")


class HttpProvider:
    def __init__(self, client: httpx.AsyncClient, secrets: SecretStore) -> None:
        self._client = client
        self._secrets = secrets

    async def call(self, call: ToolCall) -> ToolResult:
        tool, endpoint = call.tool, call.tool.endpoint
        if endpoint is None:
            raise Rejected(f"tool {tool.name!r} has no endpoint")
        facts = activation(Scope.TOOL, {"input": call.input})
        headers = {name: _header(name, template.render(facts)) for name, template in endpoint.headers.items()}
        headers["Idempotency-Key"] = call.idempotency_key
        secret = self._authorize(tool, headers)
        body: Any = None
        if endpoint.method not in WITHOUT_BODY:
            body = endpoint.body.render(facts) if endpoint.body else call.input
        url = expand_url(str(endpoint.url.source), facts)
        request = self._client.build_request(endpoint.method, url, headers=headers, json=body)
        return await send(self._client, request, secret=secret)

    def _authorize(self, tool: Tool, headers: dict[str, str]) -> str | None:
        """Add the credential; returns the secret so that answers quoting it can be cleaned."""
        auth = tool.auth
        if auth.type == "none" or auth.secret is None:
            return None
        secret = self._secrets.resolve(auth.secret)
        match auth.type:
            case "apiKey":
                headers[auth.header or "X-Api-Key"] = _header("the API key", secret)
            case "bearer":
                headers["Authorization"] = f"Bearer {_header('the token', secret)}"
            case "basic":
                pair = f"{auth.username or ''}:{secret}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return secret


def expand_url(template: str, facts: Any) -> str:
    """The URL with every `${…}` percent-encoded as one piece: input can neither leave its segment nor change the host.

    Raises Rejected for a piece that is empty or a dot segment, which would change the path.
    """
    parts = []
    for literal, expression in split_template(template):
        parts.append(literal if expression is None else _piece(expression, facts))
    url = "".join(parts)
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname or "@" in split.netloc:
        raise Rejected("the URL has to be http or https, with a host and without user info")
    return url


def _piece(expression: str, facts: Any) -> str:
    value = Template.compile(f"${{{expression}}}", Scope.TOOL).render(facts)
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, dict | list | bool) or value is None or text in ("", ".", ".."):
        raise Rejected(f"${{{expression}}} cannot be a part of a URL: {text[:100]!r}")
    return quote(text, safe="")


def _header(name: str, value: Any) -> str:
    text = str(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise Rejected(f"header {name!r} would hold characters that no header may hold")
    return text
