"""The condition SettingsApplied: whether both halves have what policy and spec say today."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding, first, named
from secondsite.plan.protectedvm import desired, replication
from secondsite.plan.protectedvm.limits import place
from secondsite.plan.protectedvm.view import View

TYPE = ProtectedVMCondition.SETTINGS_APPLIED
_REQUESTS = {
    "synchronize": "synchronize",
    "resynchronize": "resynchronize",
    "importInitialReplication": "import_initial_replication",
}


def settings_applied(view: View) -> Finding:
    """The first check that has something to say."""
    return first(_CHAIN, view) or finding(TYPE, True, R.APPLIED, "Both sites have the settings of policy and spec.")


def _silent(view: View) -> Finding | None:
    if view.silent and (view.source_unknown or view.target_unknown):
        return finding(TYPE, None, CommonReason.SITE_UNREACHABLE, view.silence)
    return None


def _not_enabled(view: View) -> Finding | None:
    if view.source is not None and view.target is not None:
        return None
    return finding(TYPE, False, R.NOT_ENABLED, "Replication is not enabled yet.")


def _no_policy(view: View) -> Finding | None:
    if view.picture.policy is not None:
        return None
    name = view.picture.spec.policy_ref.name
    return finding(TYPE, False, R.POLICY_NOT_FOUND, f"There is no ReplicationPolicy '{name}'; the old settings stay.")


def _moved(view: View) -> Finding | None:
    """The target is fixed once replication is enabled."""
    pair, source = view.picture.pair, view.source
    if source is None:
        return None
    policy = view.picture.spec.policy_ref.name
    if pair is None:
        message = f"ReplicationPolicy '{policy}' has no pair for the VM's cloud any more; the old settings stay."
        return finding(TYPE, False, R.CHANGE_REFUSED, message)
    if pair.target.site_ref.name != source.peer_site:
        message = (
            f"ReplicationPolicy '{policy}' names site {pair.target.site_ref.name} as target; the replica stays at "
            f"{source.peer_site}. To move it, delete this object and create it again."
        )
        return finding(TYPE, False, R.CHANGE_REFUSED, message)
    return None


def _storage(view: View) -> Finding | None:
    wanted, target = view.picture.spec.target.storage_classification, view.target
    if target is None or not wanted or not target.storage or target.storage == wanted:
        return None
    message = f"spec.target is fixed once replication is enabled: the replica stays on '{target.storage}'."
    return finding(TYPE, False, R.CHANGE_REFUSED, message)


def _requests(view: View) -> Finding | None:
    """Asked for, and not served: by either site."""
    served = {pair for half in (view.source, view.target) if half is not None for pair in half.served_requests}
    spec = view.picture.spec.requests
    for name, field in _REQUESTS.items():
        token = getattr(spec, field)
        if token is not None and (name, token) not in served:
            message = f"This version cannot serve spec.requests.{name} '{token}'; nothing was done."
            return finding(TYPE, False, CommonReason.NOT_IMPLEMENTED, message)
    return None


def _disks(view: View) -> Finding | None:
    if view.source is None:
        return None
    out = desired.excluded(view.picture.spec)
    still = [place(disk) for disk in view.source.disks if desired.slot(disk) in out]
    if not still:
        return None
    message = f"This version cannot stop replicating single disks: {named(still)} is in spec.excludedDisks."
    return finding(TYPE, False, CommonReason.NOT_IMPLEMENTED, message)


def _different(view: View) -> Finding | None:
    wanted = view.picture.settings
    sites = zip((view.source, view.target), view.picture.site_names, strict=True)
    behind = [site for half, site in sites if half and wanted and not desired.has_settings(half, wanted)]
    if behind:
        return finding(TYPE, False, R.APPLYING, f"The policy's settings are not at {' and '.join(behind)} yet.")
    return None


def _adapters(view: View) -> Finding | None:
    planned, target = view.picture.adapters, view.target
    if planned is None or target is None or desired.has_adapters(target, planned):
        return None
    return finding(TYPE, False, R.APPLYING, "The replica's adapters are not as planned yet.")


def _suspension(view: View) -> Finding | None:
    if replication.suspend(view.picture) is None:
        return None
    return finding(TYPE, False, R.APPLYING, "Replication is being suspended.")


_CHAIN = (
    _silent,
    _not_enabled,
    _no_policy,
    _moved,
    _storage,
    _requests,
    _disks,
    _different,
    _adapters,
    _suspension,
)
