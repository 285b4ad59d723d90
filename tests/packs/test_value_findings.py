"""Which single values of a pack are accepted?"""

import http.server
import threading

import pytest

from sentinai.errors import Rejected
from sentinai.packs.checks.secret import secrets
from sentinai.packs.checks.value import duration, url
from sentinai.packs.duration import parse_duration
from sentinai.packs.json_schema import compile_schema


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("30m", 1800), ("4h", 14_400), ("7d", 604_800), ("0s", 0)]
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "1 h", "1H", "1w", "٣h", "3651d", "9999999999s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Rejected):
        parse_duration(text)


def test_a_duration_has_to_be_more_than_nothing_and_no_more_than_allowed() -> None:
    assert list(duration(None, "/a")) == []
    assert list(duration("30s", "/a", 30)) == []
    assert list(duration("0s", "/a")) == [("/a", "has to be longer than nothing")]
    assert list(duration("31s", "/a", 30)) == [("/a", "31s is longer than 30s")]


@pytest.mark.parametrize(
    "text",
    [
        "https://psp.example.com",
        "https://psp.example.com:8443/charges/${input.id}?x=1",
        "https://psp.example.com?id=${input.id}",
        "https://[2001:db8::1]/x",
        "http://127.0.0.1:9009/x",
        "http://localhost/x",
        "http://[::1]:80/x",
    ],
)
def test_https_and_loopback_are_accepted(text: str) -> None:
    assert list(url(text, "")) == []


@pytest.mark.parametrize(
    "text",
    [
        "http://psp.example.com/",
        "http://localhost@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost:80@evil.example/",
        "https://user:pass@psp.example.com/",
        "https://good.example\\@evil.example/",
        "https://${input.host}/x",
        "https://psp.${input.zone}.example.com/x",
        "https:///x",
        "https://a b/",
        "file:///etc/passwd",
        "//psp.example.com/x",
        "psp.example.com",
        "",
    ],
)
def test_every_other_url_is_refused(text: str) -> None:
    assert len(list(url(text, ""))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "AKIAABCDEFGHIJKLMNOP",
        "sk_live_0123456789abcdef",
        "ghp_" + "a" * 36,
        "github_pat_" + "a" * 40,
        "xoxb-0123456789-abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "postgres://reader:hunter2@db.example.com/x",
    ],
)
def test_a_secret_in_the_text_is_found_wherever_it_stands(text: str) -> None:
    assert [place for place, _ in secrets({"a/b": [1, {"c": f"see {text}"}]})] == ["/a~1b/1/c"]


@pytest.mark.parametrize("text", ["PSP_API_KEY", "https://psp.example.com/x:y", "task_live", "pay_0123456789abcdef"])
def test_names_and_ids_are_no_secrets(text: str) -> None:
    assert list(secrets({"a": text})) == []


@pytest.mark.parametrize("schema", [{}, True, {"type": "object"}, {"$ref": "#/$defs/a", "$defs": {"a": {}}}])
def test_a_json_schema_is_compiled(schema: object) -> None:
    assert compile_schema(schema).is_valid({})


@pytest.mark.parametrize(
    "schema", [1, "x", None, [], {"type": "x"}, {"pattern": "("}, {"$ref": "#/a"}, {"$ref": "file:///a"}]
)
def test_what_is_no_json_schema_is_rejected(schema: object) -> None:
    with pytest.raises(Rejected, match="not a valid JSON Schema"):
        compile_schema(schema)


@pytest.mark.parametrize("key", ["$ref", "$schema", "$dynamicRef"])
def test_a_json_schema_never_makes_anybody_fetch_something(key: str) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(Rejected):
            compile_schema({key: f"http://127.0.0.1:{server.server_port}/schema"})
        server.shutdown()
    assert asked == []
