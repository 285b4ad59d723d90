"""Does a server get its first tenant and keys by one command, and nothing twice?"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from system import query
from typer.testing import CliRunner

from sentinai.cli.main import app


async def test_the_first_keys_are_made_once_and_never_shown(
    fresh_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    async with fresh_database() as url:
        monkeypatch.setenv("SENTINAI_DATABASE_URL", url)
        command = ["setup", "--key-file", str(file)]
        first = await asyncio.to_thread(CliRunner().invoke, app, command)
        keys = json.loads(file.read_text())
        second = await asyncio.to_thread(CliRunner().invoke, app, command)
        made = await query(url, "select count(*) from api_key")
        active = await query(url, "select count(*) from active_config where active")
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "nothing to do" in second.output
    assert json.loads(file.read_text()) == keys
    assert file.stat().st_mode & 0o077 == 0
    assert (made[0][0], active[0][0]) == (3, 1)
    assert "sk_" not in first.output + second.output
