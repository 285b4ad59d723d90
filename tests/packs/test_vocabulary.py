"""Is a line in a catalog all it takes for packs to name a new action or provider?"""

from typing import Annotated, Any

import msgspec
import pytest
from sample_packs import DOMAIN

from sentinai.packs.check import check, check_tool
from sentinai.packs.document import parse
from sentinai.packs.parameters import parameter
from sentinai.packs.schema import published_schemas
from sentinai.packs.vocabulary import Vocabulary
from sentinai.playbooks.action import Action, Parameters, Plan
from sentinai.playbooks.actions.catalog import CATALOG as ACTIONS
from sentinai.services.vocabulary import VOCABULARY, vocabulary_of
from sentinai.tools.providers.catalog import CATALOG as PROVIDERS
from sentinai.tools.providers.catalog import ProviderEntry
from sentinai.tools.providers.log import LogProvider


class Sing(Parameters, frozen=True):
    song: Annotated[str, msgspec.Meta(max_length=10), parameter("What is sung")]
    loud: Annotated[bool, parameter("Whether the neighbours hear it")] = False


MORE = vocabulary_of(
    (*ACTIONS, Action("sing", Sing, lambda _context, _params: Plan())),
    (*PROVIDERS, ProviderEntry("pigeon", lambda _client, _secrets: LogProvider(), needs=frozenset({"endpoint"}))),
)


def found(step: dict[str, Any], vocabulary: Vocabulary) -> list[tuple[str, str]]:
    content = parse(DOMAIN).content
    content["playbooks"] = [{"name": "a", "steps": [{"name": "b", **step}]}]
    return [
        (p.pointer, p.detail)
        for p in check(parse(msgspec.json.encode(content)), vocabulary)
        if "Suites" not in p.pointer
    ]


def test_the_words_are_those_of_the_catalogs() -> None:
    assert [word.name for word in VOCABULARY.actions] == [action.name for action in ACTIONS]
    assert [word.name for word in VOCABULARY.providers] == [entry.name for entry in PROVIDERS]


def test_a_new_action_may_be_used_once_it_is_listed() -> None:
    step = {"action": "sing", "params": {"song": "la"}}
    assert found(step, MORE) == []
    assert [pointer for pointer, _ in found(step, VOCABULARY)] == ["/playbooks/0/steps/0/action"]


@pytest.mark.parametrize(
    ("params", "place", "detail"),
    [
        ({}, "", "sing needs the parameter `song`"),
        ({"song": "la", "loud": "very"}, "/loud", "has to be true or false"),
        ({"song": "la" * 6}, "/song", "has to be text of at most 10 characters"),
        ({"song": "la", "dance": True}, "/dance", "sing has no parameter `dance`"),
    ],
)
def test_its_parameters_are_checked_as_its_type_says(params: dict[str, Any], place: str, detail: str) -> None:
    assert found({"action": "sing", "params": params}, MORE) == [(f"/playbooks/0/steps/0/params{place}", detail)]


def test_a_new_provider_may_be_used_once_it_is_listed() -> None:
    tool = {"provider": "pigeon", "inputSchema": {}, "endpoint": {"url": "https://loft.example.com"}}
    assert check_tool("letter", tool, MORE) == []
    assert [p.pointer for p in check_tool("letter", tool, VOCABULARY)] == ["/definition/provider"]
    without = {"provider": "pigeon", "inputSchema": {}}
    assert [p.detail for p in check_tool("letter", without, MORE)] == [
        "tool 'letter' is reached by pigeon and needs an endpoint"
    ]


def test_the_published_schema_names_them() -> None:
    schema = published_schemas(MORE)["DomainPack"]["properties"]
    assert schema["tools"]["additionalProperties"]["properties"]["provider"]["enum"] == [
        *(entry.name for entry in PROVIDERS),
        "pigeon",
    ]
    step = schema["playbooks"]["items"]["properties"]["steps"]["items"]["properties"]
    assert step["action"]["description"].endswith(", ".join([*(action.name for action in ACTIONS), "sing"]))
