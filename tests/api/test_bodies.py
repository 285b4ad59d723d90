"""Bad input gets a clear 4xx with a pointer, and nothing of it is stored."""

import pytest
from fastapi import Request
from system import System, query

from sentinai.api.bodies import read_body
from sentinai.api.problems import Malformed

GOOD = b'{"source_system": "psp", "payload": {"id": "x"}}'
DEEP = b"[" * 100 + b"]" * 100
VERY_DEEP = b"[" * 20_000 + b"]" * 20_000

BAD = [
    (b"", 400, ""),
    (b"{", 400, ""),
    (b"not json", 400, ""),
    (b'{"source_system": "psp", "payload": {"a": NaN}}', 400, ""),
    (b'{"source_system": "psp", "payload": {"a": "\\ud800"}}', 400, ""),
    (b'{"source_system": "psp", "payload": {"a": "\xff"}}', 400, ""),
    (b'{"source_system": "psp", "payload": {"a": "\xed\xa0\x80"}}', 400, ""),
    (GOOD.decode().encode("utf-16"), 400, ""),
    (b"[]", 422, ""),
    (b"null", 422, ""),
    (b"{}", 422, ""),
    (b'{"source_system": 5, "payload": {}}', 422, "/source_system"),
    (b'{"source_system": "", "payload": {}}', 422, "/source_system"),
    (b'{"source_system": "a b", "payload": {}}', 422, "/source_system"),
    (b'{"source_system": "psp", "payload": "text"}', 422, "/payload"),
    (b'{"source_system": "psp", "payload": {}, "more": 1}', 422, ""),
    (b'{"source_system": "psp", "payload": {}, "tenant_id": "beta"}', 422, ""),
    (b'{"source_system": "psp", "payload": {}, "occurred_at": "yesterday"}', 422, "/occurred_at"),
    (b'{"source_system": "psp", "payload": {}, "occurred_at": "2026-01-31T12:00:00"}', 422, "/occurred_at"),
    (b'{"source_system": "psp", "payload": {}, "occurred_at": "0001-01-01T00:00:00+14:00"}', 422, "/occurred_at"),
    (b'{"source_system": "psp", "payload": {}, "occurred_at": "9999-12-31T23:59:59-14:00"}', 422, "/occurred_at"),
    (b'{"source_system": "psp", "payload": {}, "occurred_at": "0001-01-01T00:00:00Z"}', 422, "/occurred_at"),
    (b'{"source_system": "psp", "payload": {}, "external_id": "a\\u0000b"}', 422, "/external_id"),
    (b'{"source_system": "psp", "payload": {"a": ["b", "c\\u0000d"]}}', 422, "/payload/a/1"),
    (b'{"source_system": "psp", "payload": {"a/b": {"n": 9223372036854775808}}}', 422, "/payload/a~1b/n"),
    (b'{"source_system": "psp", "payload": {"n": 123456789012345678901234567890}}', 422, "/payload/n"),
    (b'{"source_system": "psp", "payload": ' + DEEP + b"}", 422, "/payload"),
    (b'{"source_system": "psp", "payload": ' + VERY_DEEP + b"}", 422, "/payload"),
]


@pytest.mark.parametrize(("body", "status", "pointer"), BAD, ids=range(len(BAD)))
async def test_a_bad_report_is_refused_with_a_pointer(system: System, body: bytes, status: int, pointer: str) -> None:
    before = await query(system.url, "select count(*) from event")
    headers = {"Content-Type": "application/json"}
    answer = await system.client().post("/exceptions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["correlation_id"]
    assert problem["errors"][0]["pointer"] == pointer
    assert await query(system.url, "select count(*) from event") == before


async def test_what_can_be_kept_exactly_is_accepted(system: System) -> None:
    payload = b'{"big": 9223372036854775807, "low": -9223372036854775808, "float": 1.0, "twice": 1, "twice": 2, "u": "\\ud83d\\ude00"}'
    body = b'{"source_system": "odd", "payload": ' + payload + b"}"
    answer = await system.client().post("/exceptions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    found = await system.get(answer.headers["location"])
    assert found["raw_payload"] == {
        "big": 2**63 - 1,
        "low": -(2**63),
        "float": 1.0,
        "twice": 2,
        "u": "😀",
    }


async def test_a_body_beyond_the_bound_is_refused_whether_its_length_is_declared_or_not(system: System) -> None:
    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b" " * 65536

    headers = {"Content-Type": "application/json"}
    declared = await system.client().post("/exceptions", content=b" " * 2_000_000, headers=headers)
    streamed = await system.client().post("/exceptions", content=chunks(), headers=headers)
    assert (declared.status_code, streamed.status_code) == (413, 413)


async def test_another_content_type_is_refused(system: System) -> None:
    answer = await system.client().post("/exceptions", content=GOOD, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


async def test_a_batch_is_all_or_nothing_and_names_every_problem(system: System) -> None:
    before = await query(system.url, "select count(*) from event")
    reports = [{"source_system": "psp", "payload": {}}, {"source_system": 1, "payload": {}}, {"payload": {}}]
    answer = await system.client().post("/exceptions/batch", json=reports)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/1/source_system", "/2"]
    assert await query(system.url, "select count(*) from event") == before


async def test_a_batch_of_lines_is_accepted_in_order(system: System) -> None:
    body = b"\n".join(b'{"source_system": "lines", "payload": {"n": %d}}' % n for n in range(3))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await system.client().post("/exceptions/batch", content=body, headers=headers)
    assert answer.status_code == 202
    found = [await system.get(f"/exceptions/{i}") for i in answer.json()["exception_ids"]]
    assert [f["raw_payload"]["n"] for f in found] == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_bounds(system: System, count: int) -> None:
    reports = [{"source_system": "psp", "payload": {}}] * count
    assert (await system.client().post("/exceptions/batch", json=reports)).status_code == 422


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/exceptions?limit=0", 422),
        ("/exceptions?limit=201", 422),
        ("/exceptions?cursor=nonsense", 422),
        ("/exceptions/not-an-id", 422),
        ("/exceptions/00000000-0000-7000-8000-000000000000", 404),
        ("/nothing", 404),
        ("/exceptions?text=%00", 422),
        ("/exceptions?received_from=2026-01-01T00:00:00", 422),
    ],
)
async def test_a_bad_query_is_refused_plainly(system: System, path: str, status: int) -> None:
    answer = await system.client().get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_no_key_and_a_wrong_key_are_not_authenticated(system: System) -> None:
    for headers in (
        {"X-API-Key": ""},
        {"X-API-Key": "sk_sentinai_wrong"},
        {"X-API-Key": "", "Authorization": "Basic x"},
    ):
        answer = await system.client().get("/me", headers=headers)
        assert answer.status_code == 401
    bearer = {"X-API-Key": "", "Authorization": f"Bearer {system.keys['acme']['viewer']}"}
    del bearer["X-API-Key"]
    assert answer.json()["title"] == "Not authenticated"


async def test_a_revoked_key_is_refused_at_once_also_for_reports(system: System) -> None:
    created = await system.client().post("/api-keys", json={"name": "short-lived", "role": "operator"})
    headers = {"X-API-Key": created.json()["key"], "Content-Type": "application/json"}
    assert (await system.client().post("/exceptions", content=GOOD, headers=headers)).status_code == 202
    assert (await system.client().delete(f"/api-keys/{created.json()['key_id']}")).status_code == 202
    assert (await system.client().post("/exceptions", content=GOOD, headers=headers)).status_code in (401, 403)
    assert (await system.client().get("/me", headers=headers)).status_code == 401


DEEP_TEXT = b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "a\\u0000b"}',
        b'{"text": "\\ud800"}',
        b'{"text": 5}',
        b'{"text": ""}',
        b'{"txt": "x"}',
        b"[",
        b"[]",
        DEEP_TEXT,
    ],
    ids=["nul", "surrogate", "number", "empty", "unknown", "broken", "list", "deep"],
)
async def test_a_bad_command_is_refused(system: System, body: bytes) -> None:
    exception_id = await system.post({"id": "commands"})
    headers = {"Content-Type": "application/json"}
    answer = await system.client().post(f"/exceptions/{exception_id}/comments", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_caller_that_hangs_up_in_the_middle_is_no_fault_of_ours() -> None:
    parts = iter([{"type": "http.request", "body": b'{"source', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        return next(parts)

    with pytest.raises(Malformed):
        await read_body(Request({"type": "http", "headers": []}, receive), 1_000)
