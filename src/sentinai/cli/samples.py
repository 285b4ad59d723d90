"""Where are the sample domains, and what do they report?"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from sentinai.cli.ports import SAMPLE_TOOLS_PORT
from sentinai.errors import Missing
from sentinai.models.json import Json
from sentinai.packs.check import load
from sentinai.packs.document import PackDocument
from sentinai.services.vocabulary import VOCABULARY

FOLDER = Path(__file__).resolve().parents[3] / "domains"
TOOL_SERVER = f"127.0.0.1:{SAMPLE_TOOLS_PORT}"


class SampleDomain(NamedTuple):
    """A domain pack, the policies of its sample tenants, and reports to stream."""

    domain: PackDocument
    policies: dict[str, PackDocument]
    reports: list[dict[str, Json]]


def sample_domain(name: str) -> SampleDomain:
    """Raises Missing when the samples are not beside the package (they come with the repository)."""
    folder = FOLDER / name
    if not (folder / "domain.yaml").is_file():
        raise Missing(f"The sample domain {name!r} is not there: run this from a clone of the repository.")
    policies = [load(path.read_bytes(), VOCABULARY) for path in sorted(folder.glob("policy-*.yaml"))]
    return SampleDomain(
        load((folder / "domain.yaml").read_bytes(), VOCABULARY),
        {policy.content["tenantId"]: policy for policy in policies},
        msgspec.json.decode((folder / "samples.json").read_bytes()),
    )
