"""How does a notification channel become a tool call? Durable, retried and audited the same way."""

from sentinai.packs.effective import Auth, Channel, Endpoint, Retry, Tool
from sentinai.packs.expressions import Scope, Template

ATTEMPTS_MAX = 6
FIRST_DELAY_S = 1.0
TIMEOUT_S = 10.0


def channel_tool(channel: Channel) -> Tool:
    """The tool behind a channel of the tenant's policy; delivery is repeated with the same idempotency key."""
    endpoint = None
    if channel.url is not None:
        endpoint = Endpoint("POST", Template.compile(channel.url, Scope.TOOL), {}, None, TIMEOUT_S)
    return Tool(
        name=channel.name,
        description=f"notification channel {channel.name}",
        provider=channel.provider,
        idempotent=True,
        input_schema={"type": "object"},
        output_schema=None,
        endpoint=endpoint,
        auth=Auth("none", None, channel.secret, None),
        retry=Retry(ATTEMPTS_MAX, FIRST_DELAY_S),
        definition={},
    )
