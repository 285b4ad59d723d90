"""What is a value that came as JSON and means something only to a pack?"""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""null, bool, int, float, str, list or dict, nested. Deliberately not typed: only expressions and schemas look inside."""
