"""Which providers are there?"""

from collections.abc import Callable

import httpx

from sentinai.security.secrets import SecretStore
from sentinai.tools.provider import Provider
from sentinai.tools.providers.http import HttpProvider
from sentinai.tools.providers.log import LogProvider
from sentinai.tools.providers.webhook import WebhookProvider

CATALOG: tuple[tuple[str, Callable[[httpx.AsyncClient, SecretStore], Provider]], ...] = (
    ("http", HttpProvider),
    ("webhook", WebhookProvider),
    ("log", lambda _client, _secrets: LogProvider()),
)
