"""No planted secret comes out: not in logs, events, rows, answers, errors or metrics."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sample_packs import DOMAIN
from system import System, configure, query

from sentinai.bootstrap import configure_logging
from sentinai.settings import Settings

PLANTED = {
    "card": "4242424242424242",
    "spaced card": "5555 5555 5555 4444",
    "e-mail": "jane.planted@example.com",
    "aws": "AKIAIOSFODNN7PLANTED",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ",
    "stripe": "sk_live_planted1234567890abcdef",
    "github": "ghp_plantedplantedplantedplanted1234",
    "bearer": "Bearer planted-bearer-token-123456",
    "labelled": "password=planted-password-1",
    "iban": "DE89370400440532013000",
    "ssn": "536-22-1234",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nplantedkeymaterial\n-----END RSA PRIVATE KEY-----",
    "url": "postgresql://user:planted-url-pass@db.example.com/x",
}
NEEDLES = [
    "4242424242424242", "5555 5555 5555 4444", "jane.planted", "AKIAIOSFODNN7PLANTED", "eyJzdWIiOiJwbGFudGVkIn0",
    "sk_live_planted", "ghp_planted", "planted-bearer", "planted-password", "DE89370400440532013000", "536-22-1234",
    "plantedkeymaterial", "planted-url-pass", "planted-key-value", "planted-tool-secret", "planted-sensitive",
]  # fmt: skip


class Leaky(BaseHTTPRequestHandler):
    """A tool that repeats secrets in its answers and errors."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        refuses = "refuse" in self.path
        said = {
            "status": "ok",
            "echo": self.headers["X-Api-Key"],
            "mail": PLANTED["e-mail"],
            "token": "planted-key-value",
        }
        body = json.dumps(said).encode()
        self.send_response(400 if refuses else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


async def test_planted_secrets_come_out_nowhere(
    system: System, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(_env_file=None, log_format="json", log_level="debug"))
    monkeypatch.setenv("SENTINAI_SECRET_SHARED__PSP_API_KEY", "planted-tool-secret")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Leaky)
    Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    await configure(
        system.client(), "acme", DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{port}/").replace("1.0.0", "3.0.0"), "3.0.0"
    )
    payload: dict[str, Any] = {"amount": 5, "code": "card_declined", "retry": True, "password": "planted-key-value"}
    payload |= {"card": {"number": "planted-sensitive"}, "email": "planted-sensitive", "notes": list(PLANTED.values())}
    for number in ("leak-1", "refuse-1"):
        await system.settled({"id": number, **payload})
    await system.settled(
        {"failures": [{"id": "leak-2", "card": "planted-sensitive", **{k: payload[k] for k in ("amount", "code")}}]},
        source="psp-batch",
    )
    found = await system.settled(
        {"id": "leak-3", "amount": "not a number", "code": "review", "notes": payload["notes"]}
    )
    command = f"/exceptions/{found['exception_id']}"
    for text in PLANTED.values():
        await system.client().post(f"{command}/comments", json={"text": f"look: {text}"})
        await system.client().post("/exceptions", content=text.encode(), headers={"Content-Type": "application/json"})
    answers = [
        (await system.client().get(path)).text
        for path in (
            "/exceptions?limit=200",
            "/audit/events?limit=200",
            "/tools/executions",
            command,
            f"{command}/events",
            "/metrics",
        )
    ]
    server.shutdown()
    tables = await query(
        system.url,
        "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    )
    rows = [str(await query(system.url, f"select * from {table[0]}")) for table in tables]
    output = capfd.readouterr()
    everywhere = {"answers": "".join(answers), "database": "".join(rows), "logs": output.out + output.err}
    leaks = [(needle, place) for place, text in everywhere.items() for needle in NEEDLES if needle in text]
    assert leaks == []
    assert "leak-1" in everywhere["database"]
