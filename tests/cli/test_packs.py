"""What do the commands for packs say without a server?"""

from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from sample_packs import DOMAIN
from typer.testing import CliRunner

from sentinai.cli.main import app


@pytest.mark.parametrize("kind", ["DomainPack", "TenantPolicyPack"])
def test_the_schema_of_a_kind_of_pack_is_printed(kind: str) -> None:
    result = CliRunner().invoke(app, ["packs", "schema", kind])
    schema = msgspec.json.decode(result.stdout)
    jsonschema_rs.meta.validate(schema)
    assert schema["title"] == kind


def test_there_is_no_schema_of_anything_else() -> None:
    assert CliRunner().invoke(app, ["packs", "schema", "Pack"]).exit_code != 0


def test_a_pack_is_validated_against_the_actions_that_there_are(tmp_path: Path) -> None:
    file = tmp_path / "domain.yaml"
    file.write_text(DOMAIN)
    assert CliRunner().invoke(app, ["packs", "validate", str(file)]).exit_code == 0
    file.write_text(DOMAIN.replace("action: add_comment", "action: add_coment"))
    assert CliRunner().invoke(app, ["packs", "validate", str(file)]).exit_code != 0
