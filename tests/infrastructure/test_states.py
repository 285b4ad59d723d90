"""What does a process make of a state that another version of the fold made?"""

import pytest

from sentinai.errors import Unavailable
from sentinai.infrastructure.repositories.exceptions import is_outdated
from sentinai.models.exception_record import FOLD


@pytest.mark.parametrize("stored", [b'{"tenant_id":"acme"}', b'{"fold":1,"tenant_id":"acme"}', b"{}", b""])
def test_an_older_state_is_folded_anew(stored: bytes) -> None:
    assert is_outdated(stored)


def test_todays_state_is_taken_as_it_is() -> None:
    assert not is_outdated(b'{"fold":%d,"tenant_id":"acme"}' % FOLD)


@pytest.mark.parametrize("newer", [FOLD + 1, FOLD * 10, 10**9])
def test_a_newer_state_is_left_to_newer_processes(newer: int) -> None:
    with pytest.raises(Unavailable, match="newer version"):
        is_outdated(b'{"fold":%d,"tenant_id":"acme"}' % newer)
