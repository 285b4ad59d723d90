"""Whatever the OpenAPI document allows or nearly allows, no answer is a 5xx. Runs against the real server."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from system import require_sound

from bench import http, pipeline
from bench.pack import TENANTS
from sentinai.infrastructure.embedded import EmbeddedServer

EXAMPLES = 15
DEADLINE_S = 400


@pytest.mark.slow
def test_no_generated_request_breaks_the_server() -> None:
    with tempfile.TemporaryDirectory(prefix="sentinai-fuzz-") as folder, EmbeddedServer(Path(folder)) as server:
        keys = asyncio.run(pipeline.prepare(server.dsn))
        with http.serving(server.dsn, workers=True) as port:
            command = [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://127.0.0.1:{port}/openapi.json",
                "--header",
                f"X-API-Key: {keys[TENANTS[0]]}",
                "--checks",
                "not_a_server_error",
                "--phases",
                "fuzzing",
                "--max-examples",
                str(EXAMPLES),
                "--exclude-path-regex",
                "^/bench/",
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        asyncio.run(require_sound(server.dsn))
    assert done.returncode == 0, done.stdout[-6000:]
