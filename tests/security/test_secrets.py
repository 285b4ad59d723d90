"""Does a secret's name lead to its value, and to nothing else on this machine?"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Missing, Rejected
from sentinai.security.secrets import SecretStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of secrets, with a file beside it that is none of them."""
    (tmp_path / "OUTSIDE").write_text("outside")
    inside = tmp_path / "secrets"
    inside.mkdir()
    (inside / "ACME__FROM_FILE").write_text("from-file\n")
    (inside / "ACME__EMPTY").write_text("\n")
    (inside / "ACME__FOLDER").mkdir()
    return inside


def test_a_secret_comes_from_the_environment_under_its_prefix() -> None:
    assert SecretStore({"SENTINAI_SECRET_ACME__API_KEY": "value"}, None).resolve("acme", "API_KEY") == "value"


def test_another_variable_of_the_environment_is_no_secret() -> None:
    with pytest.raises(Missing):
        SecretStore({"API_KEY": "value", "DATABASE_URL": "value"}, None).resolve("acme", "API_KEY")


def test_a_file_holds_a_secret_without_its_line_end(directory: Path) -> None:
    assert SecretStore({}, directory).resolve("acme", "FROM_FILE") == "from-file"


def test_the_environment_comes_before_the_file(directory: Path) -> None:
    assert (
        SecretStore({"SENTINAI_SECRET_ACME__FROM_FILE": "environment"}, directory).resolve("acme", "FROM_FILE")
        == "environment"
    )


def test_a_value_is_read_when_it_is_used(directory: Path) -> None:
    store = SecretStore({}, directory)
    (directory / "ACME__FROM_FILE").write_text("rotated")
    assert store.resolve("acme", "FROM_FILE") == "rotated"


@pytest.mark.parametrize("name", ["NOBODY", "EMPTY", "FOLDER"])
def test_a_missing_secret_says_how_to_set_it(directory: Path, name: str) -> None:
    with pytest.raises(Missing, match=f"SENTINAI_SECRET_ACME__{name}"):
        SecretStore({}, directory).resolve("acme", name)


@pytest.mark.parametrize(
    "name", ["../OUTSIDE", "A/../../OUTSIDE", "/etc/passwd", "", "a", "A B", "A\n", "Ä", "A" * 101, "A__B", "_A", "A_"]
)
def test_a_name_cannot_lead_out_of_the_directory(directory: Path, name: str) -> None:
    with pytest.raises(Rejected, match="not a secret's name"):
        SecretStore({}, directory).resolve("acme", name)


def test_a_file_that_is_no_text_is_missing_and_not_quoted(directory: Path) -> None:
    (directory / "ACME__BINARY").write_bytes(b"planted\xff")
    with pytest.raises(Missing, match="cannot be read") as caught:
        SecretStore({}, directory).resolve("acme", "BINARY")
    assert "planted" not in str(caught.value)


def test_an_empty_variable_does_not_hide_a_file(directory: Path) -> None:
    assert SecretStore({"SENTINAI_SECRET_ACME__FROM_FILE": ""}, directory).resolve("acme", "FROM_FILE") == "from-file"


def test_the_store_does_not_show_its_values() -> None:
    store = SecretStore({"SENTINAI_SECRET_ACME__API_KEY": "planted"}, None)
    assert "planted" not in f"{store!r} {store} {[store]}"


def test_an_error_does_not_show_a_value() -> None:
    with pytest.raises(Missing) as caught:
        SecretStore({"SENTINAI_SECRET_ACME__API_KEY": "planted"}, None).resolve("acme", "OTHER")
    assert "planted" not in str(caught.value)


def test_a_tenant_has_its_own_secrets_and_the_shared_ones_and_no_others() -> None:
    environ = {
        "SENTINAI_SECRET_ACME__KEY": "of-acme",
        "SENTINAI_SECRET_SHARED__KEY": "of-all",
        "SENTINAI_SECRET_KEY": "of-nobody",
    }
    store = SecretStore(environ, None)
    assert [store.resolve(tenant, "KEY") for tenant in ("acme", "beta")] == ["of-acme", "of-all"]
    with pytest.raises(Rejected):
        store.resolve("beta", "ACME__KEY")


@given(st.sampled_from(["a", "a-b", "a--b", "b", "a-"]), st.sampled_from(["A", "B", "A_B", "B_C"]))
def test_no_two_tenants_have_a_variable_in_common(tenant: str, name: str) -> None:
    others = {"a", "a-b", "a--b", "b", "a-"} - {tenant}
    store = SecretStore({f"SENTINAI_SECRET_{tenant.upper().replace('-', '_')}__{name}": "mine"}, None)
    for other in others:
        for guess in ("A", "B", "A_B", "B_C"):
            with pytest.raises(Missing):
                store.resolve(other, guess)
