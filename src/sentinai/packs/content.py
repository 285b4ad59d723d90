"""What is the content of a pack, before anything is known about its form?"""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value as JSON has it: null, a truth value, a number, text, a list, or a mapping with keys of text."""
Content: TypeAlias = Mapping[str, Json]
"""A pack, or one declaration of it, as it was written."""
