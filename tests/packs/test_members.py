"""Which names does an expression read of a variable, however it is written?"""

import pytest

from sentinai.packs.members import Member, members_read


def names(text: str) -> list[str]:
    return [member.name for member in members_read(text, "nc")]


@pytest.mark.parametrize(
    "text",
    [
        "nc.x > 1",
        "nc . x > 1",
        "nc // what is known\n .x > 1",
        "nc.?x.orValue(1) > 1",
        'nc["x"] == 1',
        "nc[?'x'].hasValue()",
        'nc[r"x"] == 1',
        "nc['''x'''] == 1",
        "has(nc.x)",
        "nc.`x` == 1",
        '"x" in nc',
        'a && "x" in nc',
        '!("x" in nc)',
        "a ? nc.x : 1",
        "[1].map(i, i + nc.x)",
        '// nc.y\nnc.x != "nc.z"',
        "nc.x.y.z == 1",
        "f(nc.x)",
    ],
)
def test_every_way_to_read_a_member_is_known(text: str) -> None:
    assert names(text) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        '"nc.x"',
        "'it\\'s nc.x'",
        'r"\\" + "nc.x"',
        '"""a "nc.x" b"""',
        "// nc.x",
        "other.nc.x",
        "other.?nc.x",
        "ncx.x",
        "nc.size() > 1",
        "nc.exists(k, k == 1)",
        "nc[key]",
        'nc["a" + "b"]',
        'nc["a\\u0062"]',
        '"a" + "b" in nc',
        "nc == {}",
    ],
)
def test_what_only_looks_like_a_member_or_is_computed_is_not_one(text: str) -> None:
    assert names(text) == []


def test_all_members_are_found_with_their_places() -> None:
    text = 'nc.a > 1 &&\n  has(nc.b) || nc["c"] == 2'
    assert list(members_read(text, "nc")) == [Member("a", 1, 4), Member("b", 2, 10), Member("c", 2, 19)]
