"""Which providers are there?"""

from collections.abc import Callable
from typing import NamedTuple

import httpx

from sentinai.security.secrets import SecretStore
from sentinai.tools.provider import Provider
from sentinai.tools.providers.http import HttpProvider
from sentinai.tools.providers.log import LogProvider
from sentinai.tools.providers.webhook import WebhookProvider


class ProviderEntry(NamedTuple):
    """`needs` are keys of a tool's declaration that the provider cannot do without."""

    name: str
    build: Callable[[httpx.AsyncClient, SecretStore], Provider]
    needs: frozenset[str] = frozenset()


CATALOG: tuple[ProviderEntry, ...] = (
    ProviderEntry("http", HttpProvider, needs=frozenset({"endpoint", "outputSchema"})),
    ProviderEntry("webhook", WebhookProvider, needs=frozenset({"endpoint"})),
    ProviderEntry("log", lambda _client, _secrets: LogProvider()),
)
