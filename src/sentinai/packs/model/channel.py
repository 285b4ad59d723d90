"""Where do notifications go, and which queue does an exception belong to?"""

from typing import Annotated, Literal

from sentinai.packs.annotated import doc
from sentinai.packs.model.values import ByName, ConditionText, Part, SecretName, Text


class ChannelDeclaration(Part, frozen=True):
    """Where a notification goes"""

    provider: Annotated[Literal["webhook", "log"], doc("webhook posts JSON to the url, log writes a log line")]
    url: Annotated[Text | None, doc("Where a webhook posts to")] = None
    secret: Annotated[SecretName | None, doc("Reference to a secret by name, never its value")] = None


class Notifications(Part, frozen=True):
    """Where `notify` goes"""

    channels: Annotated[ByName[ChannelDeclaration], doc("Channels by name")] = {}


class RouteDeclaration(Part, frozen=True):
    """Which queue an exception belongs to"""

    when: Annotated[ConditionText, doc("First match wins")]
    queue: Annotated[Text, doc("The queue it belongs to")]
