"""Small packs that the tests are written against."""

DOMAIN = """
kind: DomainPack
schemaVersion: 1
domainName: payments
version: 1.0.0
description: Payments, small enough to be seen at a glance
lookups:
  severityByTier: {gold: HIGH, standard: LOW}
sources:
  - name: psp
    match: sourceSystem == "psp"
    fields:
      paymentId: ${item.id}
      amountMinor: ${int(item.amount)}
      tier: ${item.?tier.orValue("standard")}
    occurredAt: ${item.created}
    dedupKey: ${"psp:" + item.id}
    dedupWindow: 24h
    title: ${"Payment " + item.id + " failed"}
    sensitive: [item.card.number, item.email]
  - name: psp-batch
    match: sourceSystem == "psp-batch"
    items: rawPayload.failures
    fields: {paymentId: '${item.id}', amountMinor: '${int(item.amount)}'}
    dedupKey: ${"psp:" + item.id}
    sensitive: [item.card]
exceptionTypes:
  PAYMENT_FAILURE: {description: A payment did not go through, severity: MEDIUM, sla: {resolveWithin: 4h, warnBefore: 30m}}
  CARD_DECLINED:
    parentType: PAYMENT_FAILURE
    tags: [retryable]
    severity: LOW
    retriageOnRecurrence: true
    title: ${"Card declined for " + normalizedContext.paymentId}
    detectionRules: [{id: declined, condition: 'rawPayload.code == "card_declined"', confidence: 0.95}]
  CHARGEBACK:
    parentType: PAYMENT_FAILURE
    severity: CRITICAL
    detectionRules: [{id: chargeback, condition: 'rawPayload.code == "chargeback"', confidence: 0.9}]
  REFUND_STUCK:
    parentType: PAYMENT_FAILURE
    severity: HIGH
    detectionRules: [{id: refund, condition: 'rawPayload.code == "refund_stuck"'}]
  MANUAL_REVIEW:
    parentType: PAYMENT_FAILURE
    detectionRules: [{id: review, condition: 'rawPayload.code == "review"'}]
  LOST:
    detectionRules: [{id: lost, condition: 'rawPayload.code == "lost"'}]
severityRules:
  - {id: big, condition: 'normalizedContext.amountMinor >= 1000000', severity: HIGH, priorityScore: 90}
  - {id: often, condition: 'occurrences >= 5', severity: HIGH}
  - {id: tier, condition: 'normalizedContext.tier == "gold"', severity: '${lookups.severityByTier[normalizedContext.tier]}'}
tools:
  retryCharge:
    description: Charge again
    provider: http
    idempotent: true
    inputSchema: {type: object, required: [paymentId], properties: {paymentId: {type: string}}}
    outputSchema: {type: object, required: [status], properties: {status: {enum: [ok, declined]}}}
    endpoint: {method: POST, url: 'http://127.0.0.1:9/charges/${input.paymentId}/retry', timeout: 2s}
    auth: {type: apiKey, header: X-Api-Key, secret: PSP_API_KEY}
    retry: {maxAttempts: 3, firstDelay: 10ms}
  refundAgain:
    description: Refund once more
    provider: http
    inputSchema: {type: object}
    outputSchema: {type: object}
    endpoint: {method: POST, url: 'http://127.0.0.1:9/refunds', timeout: 2s}
  shredFile:
    description: Nobody approves this one
    provider: log
    inputSchema: {type: object}
playbooks:
  - name: note-and-close
    match: {exceptionTypes: [CARD_DECLINED]}
    steps:
      - {name: note, action: add_comment, params: {text: 'Declined: ${normalizedContext.paymentId}'}}
      - {name: own, action: assign_owner, params: {owner: payments-desk}}
      - {name: close, action: set_status, params: {status: RESOLVED, reason: noted}}
  - name: charge-again
    priority: 10
    match: {exceptionTypes: [CARD_DECLINED], when: 'has(rawPayload.retry) && rawPayload.retry'}
    steps:
      - {name: retry, action: call_tool, params: {tool: retryCharge, input: {paymentId: '${normalizedContext.paymentId}'}}}
      - {name: tell, action: notify, when: 'steps.retry.output.status != "ok"', params: {channel: ops, message: 'Still declined: ${normalizedContext.paymentId}'}}
      - {name: close, action: set_status, when: 'steps.retry.output.status == "ok"', params: {status: RESOLVED, reason: charged}}
  - name: dispute
    match: {exceptionTypes: [CHARGEBACK]}
    steps:
      - {name: own, action: assign_owner, params: {owner: disputes}}
      - {name: close, action: set_status, params: {status: RESOLVED, reason: accepted}}
  - name: refund
    match: {exceptionTypes: [REFUND_STUCK]}
    steps:
      - {name: again, action: call_tool, params: {tool: refundAgain, input: {id: '${normalizedContext.paymentId}'}}}
      - {name: close, action: set_status, params: {status: RESOLVED, reason: refunded}}
  - name: review
    match: {exceptionTypes: [MANUAL_REVIEW]}
    steps:
      - {name: look, action: add_comment, mode: human, params: {text: look at it}}
      - {name: ask, action: request_approval, params: {reason: 'Write off ${normalizedContext.paymentId}?', expiresAfter: 2h}}
      - {name: close, action: set_status, params: {status: RESOLVED, reason: written off}}
  - name: shred
    match: {exceptionTypes: [LOST]}
    steps: [{name: shred, action: call_tool, params: {tool: shredFile, input: {}}}]
guardrails:
  humanApprovalThreshold: 0.5
testSuites:
  - name: core
    cases:
      - name: a declined card is closed by itself
        input: {sourceSystem: psp, rawPayload: {id: p1, amount: 500, code: card_declined}}
        expected: {exceptionType: CARD_DECLINED, severity: LOW, playbook: note-and-close, policy: APPROVED}
"""

POLICY = """
kind: TenantPolicyPack
schemaVersion: 1
tenantId: TENANT
domainName: payments
version: 1.0.0
approvedTools: [retryCharge, refundAgain]
customGuardrails: {humanApprovalThreshold: 0.6}
humanApprovalRules:
  - {id: huge, when: 'normalizedContext.amountMinor > 5000000', requireApproval: true, expiresAfter: 8h}
routing: [{when: 'exceptionType == "CHARGEBACK"', queue: disputes}]
notifications: {channels: {ops: {provider: log}}}
policyTags: [eu]
"""


def policy_for(tenant_id: str) -> str:
    return POLICY.replace("TENANT", tenant_id)
