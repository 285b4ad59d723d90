"""Is a tool's declaration in order?"""

from collections.abc import Iterator

from sentinai.packs.checks.expression import template
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.value import duration, json_schema, url
from sentinai.packs.expressions import Scope
from sentinai.packs.model.tool import ENDPOINT_TIMEOUT_MAX_S, EndpointDeclaration, ToolDeclaration
from sentinai.packs.places import EVERYTHING_READ, Places
from sentinai.packs.pointer import pointer_part
from sentinai.packs.vocabulary import Vocabulary

_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})


def tool_findings(
    name: str, tool: ToolDeclaration, place: str, vocabulary: Vocabulary, places: Places = EVERYTHING_READ
) -> Iterator[Finding]:
    yield from json_schema(tool.input_schema, f"{place}/inputSchema")
    if tool.output_schema is not None:
        yield from json_schema(tool.output_schema, f"{place}/outputSchema")
    yield from _lacking(name, tool, place, vocabulary, places)
    if tool.auth.type != "none" and tool.auth.secret is None and places.whole(f"{place}/auth"):
        yield Finding(f"{place}/auth", "this kind of auth needs a secret's name")
    yield from duration(tool.retry.first_delay, f"{place}/retry/firstDelay")
    if tool.endpoint is not None:
        yield from _endpoint(tool.endpoint, f"{place}/endpoint")


def _lacking(name: str, tool: ToolDeclaration, place: str, vocabulary: Vocabulary, places: Places) -> Iterator[Finding]:
    """What the provider cannot do without."""
    provider = vocabulary.provider(tool.provider)
    needs = provider.needs if provider else frozenset()
    if "endpoint" in needs and tool.endpoint is None and places.whole(f"{place}/endpoint"):
        yield Finding(place, f"tool {name!r} is reached by {tool.provider} and needs an endpoint")
    if "outputSchema" in needs and tool.output_schema is None and places.whole(f"{place}/outputSchema"):
        yield Finding(place, f"tool {name!r} needs an outputSchema: nothing else says what its answer may be")


def _endpoint(endpoint: EndpointDeclaration, place: str) -> Iterator[Finding]:
    yield from url(endpoint.url, f"{place}/url")
    yield from template(endpoint.url, Scope.TOOL, f"{place}/url")
    yield from template(endpoint.headers, Scope.TOOL, f"{place}/headers")
    yield from template(endpoint.body, Scope.TOOL, f"{place}/body")
    yield from duration(endpoint.timeout, f"{place}/timeout", ENDPOINT_TIMEOUT_MAX_S)
    for header in endpoint.headers:
        if header.lower() in _CREDENTIAL_HEADERS:
            detail = "carries a credential: use `auth` and a secret's name"
            yield Finding(f"{place}/headers{pointer_part(header)}", detail)
