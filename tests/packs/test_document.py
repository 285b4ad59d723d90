"""What of YAML and JSON is read, what is refused, and where does it say it stood?"""

import time
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Problem, Rejected
from sentinai.packs.document import BYTES_MAX, DEPTH_MAX, NODES_MAX, parse

HEAD = "kind: DomainPack\n"


def refused(text: str | bytes) -> list[Problem]:
    with pytest.raises(Rejected) as caught:
        parse(text)
    return list(caught.value.problems)


def read(text: str) -> object:
    return parse(HEAD + text).content["a"]


def test_kind_name_and_version_are_known() -> None:
    document = parse("kind: DomainPack\ndomainName: payments\nversion: 1.2.3\n")
    assert (document.kind, document.name, document.version) == ("DomainPack", "payments", "1.2.3")


def test_every_value_has_its_place() -> None:
    document = parse("kind: DomainPack\na:\n  - b: 1\n  - {c: 2, d/e: [3]}\n")
    assert document.places["/kind"] == (1, 7)
    assert document.places["/a/1/c"] == (4, 9)
    assert document.places["/a/1/d~1e/0"] == (4, 18)


def test_a_finding_below_a_value_that_is_missing_stands_at_the_nearest_one() -> None:
    problem = parse(HEAD + "a: {b: 1}").problem("/a/b/c/d", "detail")
    assert problem == Problem("/a/b/c/d", "detail", 2, 8)


def test_json_and_yaml_with_the_same_content_have_the_same_hash() -> None:
    yaml = parse("kind: DomainPack\nversion: 1.0.0\na: [1, 2.5, null, true]\n")
    json = parse('{"a": [1, 2.5, null, true], "version": "1.0.0", "kind": "DomainPack"}')
    assert yaml.content_hash == json.content_hash


def test_another_content_has_another_hash() -> None:
    assert parse(HEAD + "a: 1").content_hash != parse(HEAD + "a: '1'").content_hash


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("'1'", "1"),
        ("!!str 12", "12"),
        (r'"\ud83d\ude00"', "😀"),
    ],
)
def test_scalars_are_those_of_yaml_1_2_and_json(text: str, value: object) -> None:
    found = read(f"a: {text}\n")
    assert (found, type(found)) == (value, type(value))


def test_the_version_directive_does_not_bring_old_words_back() -> None:
    assert parse("%YAML 1.1\n---\nkind: DomainPack\na: yes\n").content["a"] == "yes"


@pytest.mark.parametrize(
    ("text", "detail", "place"),
    [
        ("", "is empty", (1, 1)),
        ("[1]", "a pack is a mapping", (1, 1)),
        ("kind: Pack", "has to be one of", (1, 7)),
        ("domainName: x", "has to be one of", (1, 1)),
        (b"kind: \xff", "not UTF-8", (1, 1)),
        ("\ud800", "not UTF-8", (1, 1)),
        (HEAD + "a: \0", "NUL", (2, 4)),
        (HEAD + "a: \x07", "is not accepted", (2, 4)),
        (HEAD + "a: &x 1\nb: *x", "aliases", (3, 4)),
        (HEAD + "a: &x [*x]", "aliases", (2, 8)),
        (HEAD + "<<: {a: 1}", "keys have to be text", (2, 1)),
        (HEAD + "1: x", "keys have to be text", (2, 1)),
        (HEAD + "? [a]\n: x", "keys have to be text", (2, 3)),
        (HEAD + "a: 1\nb: 2\na: 3", "there twice", (4, 1)),
        (HEAD + "a: {b: 1, 'b': 2}", "there twice", (2, 11)),
        (HEAD + "a: !!binary aGk=", "the tag", (2, 4)),
        (HEAD + "a: !!python/object:os.system x", "the tag", (2, 4)),
        (HEAD + "a: !!set {b}", "the tag", (2, 4)),
        (HEAD + "a: .nan", "not a number that JSON has", (2, 4)),
        (HEAD + "a: 1e999", "not a number that JSON has", (2, 4)),
        (HEAD + "a: 9223372036854775808", "beyond 64 bits", (2, 4)),
        (HEAD + r'a: "\ud800"', "surrogate", (2, 4)),
        (HEAD + "a: [1, 2", "expected ',' or ']'", (2, 9)),
        (HEAD + "---\na: 1", "another document", (2, 1)),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str | bytes, detail: str, place: tuple[int, int]) -> None:
    problem = refused(text)[0]
    assert detail in problem.detail
    assert (problem.line, problem.column) == place


def test_several_faults_are_reported_at_once() -> None:
    assert [p.line for p in refused(HEAD + "a: .inf\nb: 1\nb: 2\n3: c\n")] == [2, 4, 5]


def test_a_document_that_is_too_large_is_refused() -> None:
    assert "larger than" in refused(HEAD + "a: " + "é" * (BYTES_MAX // 2))[0].detail


def test_a_document_that_is_too_deep_is_refused_at_once() -> None:
    assert read("a: " + "[" * DEPTH_MAX + "]" * DEPTH_MAX)
    assert "nested deeper" in refused(HEAD + "a: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))[0].detail
    assert "nested deeper" in refused("- " * 20_000)[0].detail


@pytest.mark.slow
def test_a_document_with_too_many_values_is_refused_before_it_is_read_to_the_end() -> None:
    started = time.process_time()
    assert "keys and values" in refused(HEAD + "a: [" + "1," * (5 * NODES_MAX) + "1]")[0].detail
    assert time.process_time() - started < 20


PARTS = st.sampled_from([HEAD, "a", ": ", "\n", "- ", "  ", "[", "]", "{", "}", "&x ", "*x", "!!int ", "'", '"', "|\n", "#", "%", "? ", "\\ud800", "1", ".inf", "<<", "---\n", "\t", ","])  # fmt: skip


@given(st.text() | st.binary() | st.lists(PARTS, max_size=30).map("".join).map(lambda text: HEAD + text))
def test_parsing_raises_nothing_but_rejected_with_a_place(text: str | bytes) -> None:
    problems: Sequence[Problem] = [Problem("", "none", 1, 1)]
    try:
        parse(text)
    except Rejected as error:
        problems = error.problems
    assert problems
    assert all(p.line and p.column for p in problems)


CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=10,
)  # fmt: skip


@given(CONTENT)
def test_any_json_is_read_as_what_it_is(value: object) -> None:
    content = {"kind": "DomainPack", "a": value}
    assert parse(msgspec.json.encode(content)).content == content
