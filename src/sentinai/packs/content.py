"""What is the content of a pack, before anything is known about its form?"""

from collections.abc import Mapping
from typing import TypeAlias

from sentinai.models.json import Json

Content: TypeAlias = Mapping[str, Json]
"""A pack, or one declaration of it, as it was written."""
