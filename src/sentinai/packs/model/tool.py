"""What is an external capability, how is it reached, and how often is it tried?"""

from typing import Annotated, Literal

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.model.values import ENTRIES_MAX, DurationText, FreeText, HeaderName, Part, SecretName, Text

ENDPOINT_TIMEOUT_MAX_S = 30.0
IDEMPOTENT_ATTEMPTS = 3
"""Of a tool that does not say how often it is tried; one that is not idempotent is tried once."""


class EndpointDeclaration(Part, frozen=True, kw_only=True):
    """Where the tool is"""

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], doc("HTTP method")] = "POST"
    url: Annotated[Text, doc("http(s) URL; ${input.…} is percent-encoded")]
    headers: Annotated[dict[HeaderName, FreeText], doc("Further headers", maxProperties=ENTRIES_MAX)] = {}
    body: Annotated[Json, doc("Body instead of the input itself; strings may hold ${input.…}")] = None
    timeout: Annotated[DurationText, doc(f"Deadline of one attempt, at most {ENDPOINT_TIMEOUT_MAX_S:g}s")] = "10s"


class AuthDeclaration(Part, frozen=True):
    """How calls are authorised"""

    type: Annotated[Literal["none", "apiKey", "bearer", "basic"], doc("How the caller proves who it is")]
    header: Annotated[HeaderName | None, doc("Header of an apiKey")] = None
    secret: Annotated[SecretName | None, doc("Reference to a secret by name, never its value")] = None
    username: Annotated[FreeText | None, doc("User name of basic auth; the password is the secret")] = None


class RetryDeclaration(Part, frozen=True):
    """Attempts after a failure that may pass"""

    max_attempts: Annotated[
        int | None,
        doc(
            f"Attempts in all; {IDEMPOTENT_ATTEMPTS} for an idempotent tool and 1 for others by default",
            minimum=1,
            maximum=20,
        ),
    ] = None
    first_delay: Annotated[DurationText, doc("First delay; doubles, with jitter")] = "1s"


class ToolDeclaration(Part, frozen=True, kw_only=True):
    """An external capability"""

    description: Annotated[FreeText, doc("For people")] = ""
    provider: Annotated[str, doc("How the tool is reached", vocabulary="providers")]
    idempotent: Annotated[bool, doc("May be called again with the same key after a crash")] = False
    input_schema: Annotated[dict[str, Json], doc("JSON Schema of the input")]
    output_schema: Annotated[dict[str, Json] | None, doc("JSON Schema of the answer")] = None
    endpoint: Annotated[EndpointDeclaration | None, doc("Where the tool is")] = None
    auth: Annotated[AuthDeclaration, doc("How calls are authorised")] = AuthDeclaration(type="none")
    retry: Annotated[RetryDeclaration, doc("Attempts after a failure that may pass")] = RetryDeclaration()

    @property
    def attempts_max(self) -> int:
        return self.retry.max_attempts or (IDEMPOTENT_ATTEMPTS if self.idempotent else 1)
