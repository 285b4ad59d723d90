"""Are a tenant's notification channels in order?"""

from collections.abc import Iterator, Mapping

from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.value import url
from sentinai.packs.model.channel import ChannelDeclaration
from sentinai.packs.places import Places
from sentinai.packs.pointer import pointer_part

PLACE = "/notifications/channels"


def channel_findings(channels: Mapping[str, ChannelDeclaration], places: Places) -> Iterator[Finding]:
    for name, channel in channels.items():
        place = f"{PLACE}{pointer_part(name)}"
        if channel.url is not None:
            yield from url(channel.url, f"{place}/url")
        elif channel.provider == "webhook" and places.whole(f"{place}/url"):
            yield Finding(place, "a webhook needs a url")
