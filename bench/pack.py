"""Which packs is the benchmark measured with? Five CEL rules, a playbook of three steps, no outside calls."""

from typing import Any

TENANTS = tuple(f"bench-{n}" for n in range(7))

DOMAIN = """
kind: DomainPack
schemaVersion: 1
domainName: bench
version: 1.0.0
sources:
  - name: orders
    match: sourceSystem == "orders"
    fields: {orderId: '${item.orderId}', amount: '${item.amount}'}
    dedupKey: ${item.orderId}
    title: ${"Order " + item.orderId}
exceptionTypes:
  MISMATCH:
    severity: MEDIUM
    detectionRules:
      - {id: economic, condition: 'rawPayload.impact == "ECONOMIC" && rawPayload.amount > 0.0', confidence: 0.95}
  LATE:
    severity: LOW
    detectionRules: [{id: late, condition: 'rawPayload.reason.startsWith("late")', confidence: 0.9}]
severityRules:
  - {id: huge, condition: 'normalizedContext.amount >= 1000000.0', severity: CRITICAL}
  - {id: foreign, condition: 'rawPayload.currency != "USD"', severity: HIGH}
  - {id: usual, condition: 'normalizedContext.amount >= 100.0', severity: MEDIUM}
playbooks:
  - name: note-and-close
    match: {exceptionTypes: [MISMATCH]}
    steps:
      - {name: note, action: add_comment, params: {text: 'Checked order ${normalizedContext.orderId}'}}
      - {name: own, action: assign_owner, params: {owner: desk}}
      - {name: close, action: set_status, params: {status: RESOLVED, reason: corrected}}
"""


def policy(tenant_id: str) -> str:
    return (
        f"kind: TenantPolicyPack\nschemaVersion: 1\ntenantId: {tenant_id}\ndomainName: bench\n"
        "version: 1.0.0\napprovedTools: []\n"
    )


def payload(number: str) -> dict[str, Any]:
    return {
        "orderId": f"O-{number}",
        "impact": "ECONOMIC",
        "amount": 1200.5,
        "currency": "USD",
        "reason": "SSI mismatch",
    }


EVENTS_PER_EXCEPTION = 14
"""Ingested, normalized, triaged, evaluated, matched, started, 3 steps and their 3 effects, completed, feedback."""
EMPTY_ROUTE = "/bench/empty"
