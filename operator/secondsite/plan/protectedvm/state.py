"""One word for the eye, derived from the condition Protected and from the halves."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMState as S
from secondsite.plan.actions import Finding
from secondsite.plan.protectedvm.view import View

_BY_REASON = {
    CommonReason.PENDING: S.PENDING,
    CommonReason.REFERENCE_NOT_FOUND: S.PENDING,
    CommonReason.SITE_UNREACHABLE: S.PENDING,
    R.POLICY_NOT_FOUND: S.PENDING,
    R.POLICY_NOT_READY: S.PENDING,
    R.SITE_NOT_FOUND: S.PENDING,
    R.SITE_NOT_READY: S.PENDING,
    R.WAITING_FOR_SLOT: S.PENDING,
    R.WAITING_FOR_WINDOW: S.PENDING,
    R.VALIDATING: S.VALIDATING,
    R.ENABLING: S.VALIDATING,
    R.APPLYING: S.VALIDATING,
    R.NO_RECOVERY_POINT: S.VALIDATING,
    R.WAITING_FOR_MEDIA: S.WAITING_FOR_MEDIA,
    R.INITIAL_REPLICATION_RUNNING: S.INITIAL_REPLICATION,
    R.SUSPENDED_BY_USER: S.SUSPENDED,
    R.SUSPENDED_AT_SITE: S.SUSPENDED,
    R.FAILED_OVER: S.FAILED_OVER,
}
_BY_HALF = {
    "WaitingForStartResynchronize": S.RESYNCHRONIZATION_REQUIRED,
    "ResynchronizeSuspended": S.RESYNCHRONIZATION_REQUIRED,
    "Resynchronizing": S.RESYNCHRONIZING,
}


def state(view: View, protected: Finding) -> S:
    """What is going on."""
    if view.world.vm.deleting:
        return S.DELETING
    if protected.status == "Unknown":
        return S.UNKNOWN
    if protected.status == "True":
        return S.PROTECTED
    if view.source is not None and (found := _BY_HALF.get(view.source.state)):
        return found
    return next((word for reason, word in _BY_REASON.items() if reason == protected.reason), S.ERROR)
