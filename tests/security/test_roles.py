"""Does a role allow what stands below it, and nothing above?"""

from uuid import UUID

import pytest

from sentinai.errors import Denied
from sentinai.security.roles import ROLES, Principal, require

ALLOWED = {
    "viewer": {"viewer"},
    "operator": {"viewer", "operator"},
    "approver": {"viewer", "operator", "approver"},
    "admin": {"viewer", "operator", "approver", "admin"},
    "platform_admin": {"platform_admin"},
}


def principal(role: str) -> Principal:
    return Principal(tenant_id="acme", key_id=UUID(int=1), name="desk", role=role, subject="desk")


@pytest.mark.parametrize("role", [*ROLES, "", "ADMIN", "root"])
@pytest.mark.parametrize("needed", ROLES)
def test_a_role_allows_itself_and_what_is_below_it(role: str, needed: str) -> None:
    if needed in ALLOWED.get(role, set()):
        require(principal(role), needed)
    else:
        with pytest.raises(Denied, match=needed) as caught:
            require(principal(role), needed)
        assert caught.value.details == {"role": role, "needed": needed}


def test_every_role_has_its_place() -> None:
    assert set(ALLOWED) == set(ROLES)


def test_a_role_that_does_not_exist_cannot_be_asked_for() -> None:
    with pytest.raises(KeyError):
        require(principal("admin"), "superuser")
