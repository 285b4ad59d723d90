"""When does a tenant want a person to agree?"""

from typing import Annotated

from sentinai.models.approval import OnExpiry
from sentinai.packs.annotated import doc
from sentinai.packs.effective import Severity
from sentinai.packs.model.values import ConditionText, DurationText, Name, Part

ON_EXPIRY: OnExpiry = "ESCALATE"
"""What becomes of a question that nobody answered in time, where it is not said."""
APPROVERS_MAX = 10


class ApprovalRuleDeclaration(Part, frozen=True):
    """Who has to agree; all given criteria have to hold, and one without criteria holds always"""

    id: Annotated[Name | None, doc("Name in the evidence; its number by default")] = None
    severity: Annotated[Severity | None, doc("For this severity only")] = None
    exception_type: Annotated[Name | None, doc("The type and its descendants")] = None
    when: Annotated[ConditionText | None, doc("And only if this holds")] = None
    require_approval: Annotated[bool, doc("Whether a person has to agree")] = True
    approvers: Annotated[int, doc("How many different people have to agree", minimum=1, maximum=APPROVERS_MAX)] = 1
    expires_after: Annotated[DurationText | None, doc("How long a person may take")] = None
    on_expiry: Annotated[OnExpiry | None, doc("What happens then; needs expiresAfter", default=ON_EXPIRY)] = None
