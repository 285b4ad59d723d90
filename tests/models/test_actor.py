"""Who is behind an event, whatever key was used and however old the event is?"""

from uuid import UUID, uuid5

import pytest

from sentinai.models.actor import canonical, subject_of, user

KEY = UUID("00000000-0000-0000-0000-00000000000a")
OTHER = UUID("00000000-0000-0000-0000-00000000000b")
SUBJECTS = [
    "ann",
    "ann@example.com",
    "svc/payments",
    "a/b/c",
    "/",
    "trailing/",
    "/leading",
    "user:ann",
    "agent:triage",
    "sp ace",
    "Zoë",
    str(KEY),
    f"svc/{OTHER}",
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_subject_of_a_callers_key_is_found_again(subject: str) -> None:
    assert subject_of(user(subject, KEY)) == subject


@pytest.mark.parametrize("subject", SUBJECTS)
def test_two_keys_of_one_subject_are_one_person(subject: str) -> None:
    assert user(subject, KEY) != user(subject, OTHER)
    assert subject_of(user(subject, KEY)) == subject_of(user(subject, OTHER))


@pytest.mark.parametrize(
    ("one", "other"), [("ann", "bob"), ("ann", "Ann"), ("a/b", "a"), ("ann", "ann/"), ("x/y", "x/z")]
)
def test_two_subjects_are_two_people_even_under_one_key(one: str, other: str) -> None:
    assert subject_of(user(one, KEY)) != subject_of(user(other, KEY))


@pytest.mark.parametrize(
    ("actor", "subject"),
    [
        (f"user:{KEY}", str(KEY)),
        ("user:ann", "ann"),
        ("user:", ""),
    ],
)
def test_a_key_made_before_subjects_were_known_is_a_subject_of_its_own(actor: str, subject: str) -> None:
    assert subject_of(actor) == subject


@pytest.mark.parametrize(
    "actor",
    [
        "agent:triage", "agent:playbook", "tool:refundAgain", "tool:user/7", "system:sla", "system:user:ann",
        "", "ann", f"ann/{KEY}", "User:ann", " user:ann", "users:ann",
    ],
)  # fmt: skip
def test_whatever_is_no_user_has_no_subject(actor: str) -> None:
    assert subject_of(actor) is None


def test_the_actor_names_subject_and_key() -> None:
    assert user("ann", KEY) == f"user:ann/{KEY}"


def test_only_the_last_part_is_the_key() -> None:
    many = [uuid5(KEY, str(n)) for n in range(20)]
    subject = "/".join(map(str, many))
    assert subject_of(user(subject, KEY)) == subject


@pytest.mark.parametrize("spelling", ["Dora", "dora", "  DORA ", "ｄｏｒａ"])
def test_one_person_has_one_subject_however_it_is_spelt(spelling: str) -> None:
    assert canonical(spelling) == "dora"


def test_two_ways_to_write_a_letter_and_any_number_of_blanks_are_one() -> None:
    assert canonical("Jos\u00e9  Diaz") == canonical("jose\u0301 diaz")


@pytest.mark.parametrize("subject", ["", " ", "do\u200bra", "a\x00b", "\u202edora"])
def test_what_is_blank_or_hides_something_names_nobody(subject: str) -> None:
    assert canonical(subject) is None
