"""The client of all tools, allowed to reach this machine."""

from collections.abc import AsyncIterator

import httpx
import pytest

from sentinai.security.addresses import AddressGuard
from sentinai.tools.outbound import outbound_client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with outbound_client(AddressGuard(["127.0.0.0/8"])) as opened:
        yield opened
