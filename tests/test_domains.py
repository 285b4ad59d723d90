"""The sample domains hold together, pass their own tests, and have the size of a starting point for a real team."""

import pytest

from sentinai.cli.samples import FOLDER, sample_domain
from sentinai.orchestrator.cases import run_cases
from sentinai.packs.check import check_pair
from sentinai.packs.compile import compile_pair
from sentinai.services.vocabulary import VOCABULARY
from sentinai.tools.gate import refusal

DOMAINS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def first_policy(name: str) -> str:
    """The tenant that the domain's test cases are written for: the lenient one."""
    return {"card-payments": "acme", "capital-markets": "gamma"}[name]


@pytest.mark.parametrize("name", DOMAINS)
def test_every_case_of_the_pack_passes(name: str) -> None:
    sample = sample_domain(name)
    config = compile_pair(sample.domain.content, sample.policies[first_policy(name)].content)
    failed = [
        (r.suite, r.case, r.differences) for r in run_cases(config, sample.domain.content, refusal) if not r.passed
    ]
    assert failed == []


@pytest.mark.parametrize("name", DOMAINS)
def test_every_policy_fits_the_domain(name: str) -> None:
    sample = sample_domain(name)
    assert len(sample.policies) >= 2
    assert [check_pair(sample.domain.content, p.content, VOCABULARY) for p in sample.policies.values()] == [[]] * len(
        sample.policies
    )


@pytest.mark.parametrize("name", DOMAINS)
def test_the_domain_is_large_enough_to_start_from(name: str) -> None:
    sample = sample_domain(name)
    content = sample.domain.content
    cases = sum(len(suite["cases"]) for suite in content["testSuites"])
    sizes = (
        len(content["exceptionTypes"]),
        len(content["tools"]),
        len(content["playbooks"]),
        cases,
        len(sample.reports),
    )
    assert all(size >= wanted for size, wanted in zip(sizes, (6, 4, 5, 15, 20), strict=True)), sizes


def test_a_case_that_does_not_hold_is_said_to_fail() -> None:
    sample = sample_domain("card-payments")
    suites = [
        {
            "name": "s",
            "cases": [
                {
                    "name": "c",
                    "input": {"sourceSystem": "psp", "rawPayload": {"id": "1", "amount": 1, "code": "x"}},
                    "expected": {"severity": "CRITICAL"},
                }
            ],
        }
    ]
    config = compile_pair(sample.domain.content, sample.policies["acme"].content)
    (result,) = run_cases(config, {**sample.domain.content, "testSuites": suites}, refusal)
    assert result.differences == ["severity: expected 'CRITICAL', got 'MEDIUM'"]
