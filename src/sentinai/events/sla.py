"""Which deadlines of an exception came near or passed?"""

from datetime import datetime

import msgspec


class SLAImminent(msgspec.Struct, frozen=True):
    resolve_by: datetime


class SLAExpired(msgspec.Struct, frozen=True):
    resolve_by: datetime
