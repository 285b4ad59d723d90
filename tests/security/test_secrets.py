"""Does a secret's name lead to its value, and to nothing else on this machine?"""

from pathlib import Path

import pytest

from sentinai.errors import Missing, Rejected
from sentinai.security.secrets import SecretStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of secrets, with a file beside it that is none of them."""
    (tmp_path / "OUTSIDE").write_text("outside")
    inside = tmp_path / "secrets"
    inside.mkdir()
    (inside / "FROM_FILE").write_text("from-file\n")
    (inside / "EMPTY").write_text("\n")
    (inside / "FOLDER").mkdir()
    return inside


def test_a_secret_comes_from_the_environment_under_its_prefix() -> None:
    assert SecretStore({"SENTINAI_SECRET_API_KEY": "value"}, None).resolve("API_KEY") == "value"


def test_another_variable_of_the_environment_is_no_secret() -> None:
    with pytest.raises(Missing):
        SecretStore({"API_KEY": "value", "DATABASE_URL": "value"}, None).resolve("API_KEY")


def test_a_file_holds_a_secret_without_its_line_end(directory: Path) -> None:
    assert SecretStore({}, directory).resolve("FROM_FILE") == "from-file"


def test_the_environment_comes_before_the_file(directory: Path) -> None:
    assert SecretStore({"SENTINAI_SECRET_FROM_FILE": "environment"}, directory).resolve("FROM_FILE") == "environment"


def test_a_value_is_read_when_it_is_used(directory: Path) -> None:
    store = SecretStore({}, directory)
    (directory / "FROM_FILE").write_text("rotated")
    assert store.resolve("FROM_FILE") == "rotated"


@pytest.mark.parametrize("name", ["NOBODY", "EMPTY", "FOLDER"])
def test_a_missing_secret_says_how_to_set_it(directory: Path, name: str) -> None:
    with pytest.raises(Missing, match=f"SENTINAI_SECRET_{name}"):
        SecretStore({}, directory).resolve(name)


@pytest.mark.parametrize(
    "name", ["../OUTSIDE", "A/../../OUTSIDE", "/etc/passwd", "", "a", "A B", "A\n", "Ä", "A" * 101]
)
def test_a_name_cannot_lead_out_of_the_directory(directory: Path, name: str) -> None:
    with pytest.raises(Rejected, match="not a secret's name"):
        SecretStore({}, directory).resolve(name)


def test_a_file_that_is_no_text_is_missing_and_not_quoted(directory: Path) -> None:
    (directory / "BINARY").write_bytes(b"planted\xff")
    with pytest.raises(Missing, match="cannot be read") as caught:
        SecretStore({}, directory).resolve("BINARY")
    assert "planted" not in str(caught.value)


def test_an_empty_variable_does_not_hide_a_file(directory: Path) -> None:
    assert SecretStore({"SENTINAI_SECRET_FROM_FILE": ""}, directory).resolve("FROM_FILE") == "from-file"


def test_the_store_does_not_show_its_values() -> None:
    store = SecretStore({"SENTINAI_SECRET_API_KEY": "planted"}, None)
    assert "planted" not in f"{store!r} {store} {[store]}"


def test_an_error_does_not_show_a_value() -> None:
    with pytest.raises(Missing) as caught:
        SecretStore({"SENTINAI_SECRET_API_KEY": "planted"}, None).resolve("OTHER")
    assert "planted" not in str(caught.value)
