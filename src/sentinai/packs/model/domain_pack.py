"""What does a Domain Pack declare?"""

from typing import Annotated

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.model.entity import Entity
from sentinai.packs.model.exception_type import ExceptionTypeDeclaration
from sentinai.packs.model.guardrails import GuardrailsDeclaration
from sentinai.packs.model.playbook import PlaybookDeclaration
from sentinai.packs.model.severity import SeverityRuleDeclaration
from sentinai.packs.model.source import SourceDeclaration
from sentinai.packs.model.test_case import Suite
from sentinai.packs.model.tool import ToolDeclaration
from sentinai.packs.model.values import ByName, DomainName, Entries, FreeText, Part, SemanticVersion


class DomainPack(Part, frozen=True, kw_only=True):
    """How one business domain handles its exceptions, whoever the tenant is"""

    kind: Annotated[str, doc("What this document is", const="DomainPack")]
    schema_version: Annotated[int, doc("Version of the format", const=1)]
    domain_name: Annotated[DomainName, doc("Name of the business domain")]
    version: Annotated[SemanticVersion, doc("Semantic version; a changed pack needs a new one")]
    description: Annotated[FreeText, doc("For people")] = ""
    entities: Annotated[
        ByName[Entity], doc("Vocabulary: where attributes are declared, misspelt ones are found at import")
    ] = {}
    lookups: Annotated[ByName[Json], doc("Decision tables, read as lookups.<name>")] = {}
    sources: Annotated[Entries[SourceDeclaration], doc("First match wins")] = ()
    exception_types: Annotated[ByName[ExceptionTypeDeclaration], doc("The taxonomy", minProperties=1)]
    severity_rules: Annotated[Entries[SeverityRuleDeclaration], doc("First match wins")] = ()
    tools: Annotated[ByName[ToolDeclaration], doc("External capabilities")] = {}
    playbooks: Annotated[Entries[PlaybookDeclaration], doc("What can be done")] = ()
    guardrails: Annotated[GuardrailsDeclaration, doc("Limits for every tenant")] = GuardrailsDeclaration()
    test_suites: Annotated[Entries[Suite], doc("Tests of the pack")] = ()
