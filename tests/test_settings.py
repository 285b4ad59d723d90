"""Do settings mean what they say, and does a wrong one stop the start by name?"""

from pathlib import Path

import pytest

from sentinai.errors import Rejected
from sentinai.settings import Settings, env_example, environment, load_settings, variable_of

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_of(field), raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_without_any_variable_the_database_is_embedded_and_the_api_local(env_file: Path) -> None:
    settings = load_settings(env_file)
    assert (settings.database_url, settings.api_host, settings.api_port) == ("", "127.0.0.1", 8000)
    assert settings.chaining is True


def test_the_environment_overrides_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("SENTINAI_API_PORT=8100\nSENTINAI_CHAINING=false\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("SENTINAI_API_PORT", "8200")
    settings = load_settings(env_file)
    assert (settings.api_port, settings.chaining) == (8200, False)


def test_an_empty_value_means_the_default(env_file: Path) -> None:
    env_file.write_text("SENTINAI_API_PORT=\nSENTINAI_SECRETS_DIR=\n")
    settings = load_settings(env_file)
    assert (settings.api_port, settings.secrets_dir) == (8000, None)


@pytest.mark.parametrize("name", ["SENTINAI_DATABASE_URL", "DATABASE_URL"])
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_both_names_and_all_usual_schemes_of_the_database_are_understood(
    name: str, scheme: str, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text(f"{name}={scheme}://u:p@db:5432/s\n")
    assert load_settings(env_file).database_url == "postgresql://u:p@db:5432/s"
    env_file.unlink()
    monkeypatch.setenv(name, f"{scheme}://u:p@db:5432/s")
    assert load_settings(env_file).database_url == "postgresql://u:p@db:5432/s"


def test_our_own_name_of_the_database_wins(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/db")
    monkeypatch.setenv("SENTINAI_DATABASE_URL", "postgresql://ours/db")
    assert load_settings(env_file).database_url == "postgresql://ours/db"


def test_the_password_is_neither_printed_nor_repeated_in_an_error(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@db/s")
    assert "hunter2" not in repr(load_settings(env_file))
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@db/s")
    with pytest.raises(Rejected, match="SENTINAI_DATABASE_URL") as caught:
        load_settings(env_file)
    assert "hunter2" not in str(caught.value) + repr(caught.value.problems)


def test_an_unknown_variable_is_named_with_the_nearest_known_one(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTINAI_API_PROT", "1")
    env_file.write_text("SENTINAI_ZZZZZZ=1\n")
    with pytest.raises(Rejected) as caught:
        load_settings(env_file)
    assert "SENTINAI_API_PROT is not a setting; did you mean SENTINAI_API_PORT?" in caught.value.message
    assert "SENTINAI_ZZZZZZ is not a setting; see .env.example" in caught.value.message


def test_secrets_and_test_variables_are_not_settings(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINAI_SECRET_BANK", "x")
    monkeypatch.setenv("SENTINAI_TEST_ANYTHING", "x")
    env_file.write_text("SENTINAI_SECRET_FROM_FILE=y\nSENTINAI_SECRET_BANK=overridden\n")
    load_settings(env_file)
    assert environment(env_file)["SENTINAI_SECRET_FROM_FILE"] == "y"
    assert environment(env_file)["SENTINAI_SECRET_BANK"] == "x"


def test_every_wrong_variable_is_named_at_once(env_file: Path) -> None:
    env_file.write_text("SENTINAI_API_PORT=seventy\nSENTINAI_LOG_LEVEL=loud\nSENTINAI_BROKER=rabbit\nSENTINAI_NONO=1\n")
    with pytest.raises(Rejected) as caught:
        load_settings(env_file)
    assert {p.pointer for p in caught.value.problems} == {
        "/SENTINAI_API_PORT",
        "/SENTINAI_LOG_LEVEL",
        "/SENTINAI_BROKER",
        "/SENTINAI_NONO",
    }


def test_kafka_needs_an_address(env_file: Path) -> None:
    env_file.write_text("SENTINAI_BROKER=kafka\n")
    with pytest.raises(Rejected, match="SENTINAI_KAFKA_BOOTSTRAP_SERVERS"):
        load_settings(env_file)


def test_allowed_hosts_are_a_list_separated_by_commas(env_file: Path) -> None:
    env_file.write_text("SENTINAI_TOOL_ALLOWED_HOSTS=localhost, 127.0.0.1:9009,,*.internal\n")
    assert load_settings(env_file).tool_allowed_hosts == ("localhost", "127.0.0.1:9009", "*.internal")


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_example_lists_every_setting() -> None:
    assert (REPOSITORY / ".env.example").read_text() == env_example(), "python -m sentinai.settings > .env.example"


def test_the_example_can_be_used_as_it_is(env_file: Path) -> None:
    env_file.write_text(env_example().replace("# SENTINAI_", "SENTINAI_"))
    assert load_settings(env_file) == Settings(_env_file=None)
