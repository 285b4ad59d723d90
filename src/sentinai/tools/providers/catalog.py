"""Which providers are there?"""

from collections.abc import Callable
from typing import NamedTuple

import httpx

from sentinai.security.secrets import SecretStore
from sentinai.tools.provider import Provider
from sentinai.tools.providers.http import HttpProvider
from sentinai.tools.providers.log import LogProvider
from sentinai.tools.providers.webhook import WebhookProvider


class Entry(NamedTuple):
    """`needs` are keys of a tool's declaration that the provider cannot do without."""

    name: str
    build: Callable[[httpx.AsyncClient, SecretStore], Provider]
    needs: frozenset[str] = frozenset()


CATALOG: tuple[Entry, ...] = (
    Entry("http", HttpProvider, needs=frozenset({"endpoint", "outputSchema"})),
    Entry("webhook", WebhookProvider, needs=frozenset({"endpoint"})),
    Entry("log", lambda _client, _secrets: LogProvider()),
)
