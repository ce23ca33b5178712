"""RecoveryVault: one certificate authority, made once, and a roll-up of the namespace."""

from secondsite.api.condition import CommonReason
from secondsite.api.recoveryvault import (
    CertificateAuthority,
    ProtectedVMCounts,
    RecoveryVaultStatus,
    SiteCounts,
    VaultCondition,
    VaultReason,
)
from secondsite.plan.actions import AddFinalizer, CreateAuthority, Finding, Plan, RemoveFinalizer, Report, Trouble
from secondsite.plan.conditions import named
from secondsite.plan.finalizers import IN_USE
from secondsite.plan.observed import Unknown, VaultWorld

_SHOWN = 10
"""Names in a message; of the others the number."""


def plan(world: VaultWorld) -> Plan:
    """An authority where there is none and none is in use; the finalizer while anything refers to the vault."""
    vault = world.vault
    if vault.deleting:
        # The Secret with the keys stays: a vault that is created again takes them up.
        done = not world.users and IN_USE in vault.finalizers
        return Plan(actions=(RemoveFinalizer(IN_USE),) if done else ())
    guard = (AddFinalizer(IN_USE),) if world.users and IN_USE not in vault.finalizers else ()
    if world.older:
        return Plan(actions=guard)
    create = (CreateAuthority(),) if world.authorities == () and not world.foreign_sites else ()
    return Plan(actions=(*guard, *create))


def judge(world: VaultWorld, _plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """Whether the authority is there, and how sites and VMs stand."""
    authority = _authority(world, troubles)
    status = RecoveryVaultStatus(
        certificate_authorities=_authorities(world),
        sites=SiteCounts(total=len(world.sites), ready=sum(ready for _, ready in world.sites)),
        protected_vms=_counts(world),
    )
    return Report(findings=(authority, _ready(world, authority)), status=status.manifest())


def _authority(world: VaultWorld, troubles: tuple[Trouble, ...]) -> Finding:
    kind = VaultCondition.CERTIFICATE_AUTHORITY_READY
    if isinstance(world.authorities, Unknown):
        return Finding(kind, "Unknown", CommonReason.PENDING, "The Secret with the authority was not read yet")
    if world.authorities:
        return Finding(kind, "True", VaultReason.CERTIFICATE_AUTHORITY_ISSUED, "Certificates can be signed")
    if world.foreign_sites:
        return Finding(
            kind,
            "False",
            VaultReason.CERTIFICATE_AUTHORITY_LOST,
            f"No authority is held, but {named(world.foreign_sites, _SHOWN)} answer with one. None is made, for it "
            "would lock those sites out: restore the Secret of this vault, or give their agents new data folders.",
        )
    trouble = f": {troubles[0].message}" if troubles else ""
    return Finding(kind, "False", VaultReason.CERTIFICATE_AUTHORITY_PENDING, f"The authority is being made{trouble}")


def _ready(world: VaultWorld, authority: Finding) -> Finding:
    kind = VaultCondition.READY
    if world.vault.deleting:
        waits = f"Deletion waits for {named(world.users, _SHOWN)}" if world.users else "Deletion goes on"
        return Finding(kind, "False", VaultReason.IN_USE if world.users else CommonReason.DELETING, waits)
    if world.older:
        message = f"The vault {world.older} of this namespace is older and is served: delete one of the two"
        return Finding(kind, "False", VaultReason.NOT_THE_ONLY_VAULT, message)
    if world.vault.spec.requests.take_over is not None:
        message = "requests.takeOver is not built yet: sites that obey another cluster go on obeying it"
        return Finding(kind, "False", CommonReason.NOT_IMPLEMENTED, message)
    if authority.status != "True":
        return Finding(kind, authority.status, authority.reason, authority.message)
    if not world.sites:
        return Finding(kind, "True", VaultReason.NO_SITES, "No VMMSite refers to this vault yet")
    behind = [name for name, ready in world.sites if not ready]
    if behind:
        return Finding(
            kind, "False", VaultReason.SITES_NOT_READY, f"Not ready: {named(behind, _SHOWN)}; see `kubectl get site`"
        )
    return Finding(kind, "True", VaultReason.READY, "The authority and all sites are ready")


def _authorities(world: VaultWorld) -> tuple[CertificateAuthority, ...]:
    if isinstance(world.authorities, Unknown):
        return ()
    newest_first = reversed(world.authorities[-8:])
    return tuple(CertificateAuthority(fingerprint=print_, expiry_time=expiry) for print_, expiry in newest_first)


def _counts(world: VaultWorld) -> ProtectedVMCounts:
    critical = sum(vm.health == "Critical" for vm in world.vms)
    warning = sum(vm.health == "Warning" for vm in world.vms)
    total = len(world.vms)
    return ProtectedVMCounts(total=total, healthy=total - critical - warning, warning=warning, critical=critical)
