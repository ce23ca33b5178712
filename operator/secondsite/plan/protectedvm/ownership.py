"""Whether the halves that are there are ours, and whether they fit together. A foreign one is never touched."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.actions import Plan
from secondsite.plan.observed import Half, SiteView
from secondsite.plan.protectedvm.orders import order, running, wait
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.arguments import Removal
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb


def foreign(picture: Picture) -> Plan | None:
    """A half of another vault, or of none."""
    for half, site in zip((picture.source, picture.target), picture.site_names, strict=True):
        if not isinstance(half, Relation):
            continue
        claim = picture.claim(half)
        if claim == "Foreign":
            return wait(R.OWNED_BY_ANOTHER_VAULT, f"At site {site} another vault replicates VM {half.vm_name}.")
        # A site books the owner once the command that made the half has succeeded.
        if claim == "Nobody's" and running(picture) is None:
            return _unowned(picture, half, site)
    return None


def _unowned(picture: Picture, half: Relation, site: str) -> Plan:
    if picture.spec.existing_replication == "Adopt":
        message = "This version cannot adopt a replication that it did not enable: remove it in Hyper-V first."
        return wait(CommonReason.NOT_IMPLEMENTED, message)
    message = (
        f"At site {site} VM {half.vm_name} replicates with {half.peer_site or 'another host'} and no vault owns it: "
    )
    return wait(R.REPLICATES_ALREADY, message + "remove that replication in Hyper-V first.")


def other_roles(picture: Picture) -> Plan | None:
    """After a failover the halves have other modes and states, which this version only reports."""
    source, target = picture.source, picture.target
    turned = isinstance(source, Relation) and source.mode != "Primary"
    turned = turned or (isinstance(target, Relation) and target.mode != "Replica")
    over = {half.state for half in (source, target) if isinstance(half, Relation)} & FAILED_OVER
    if turned or over:
        return wait(R.FAILED_OVER, "The VM was failed over at its sites; this version cannot act on that yet.")
    return None


FAILED_OVER = frozenset({"PreparedForFailover", "FailedOverWaitingCompletion", "FailedOver", "RecoveryInProgress"})


def other_peers(picture: Picture) -> Plan | None:
    """Halves that name other sites than each other."""
    source, target = picture.site_names
    for half, site, peer in ((picture.source, source, target), (picture.target, target, source)):
        if isinstance(half, Relation) and peer and half.peer_site != peer:
            message = f"At site {site} the VM replicates with site {half.peer_site}, and the policy says {peer}."
            return wait(R.CHANGE_REFUSED if site == source else R.VIEWS_DISAGREE, message)
    return None


def left_over(picture: Picture) -> Plan | None:
    """A half whose other half was given up by command: it is given up too."""
    target = picture.world.target
    if target is None:
        return None
    return _left_over(picture, picture.source, picture.world.source, target) or _left_over(
        picture, picture.target, target, picture.world.source
    )


def _left_over(picture: Picture, half: Half, view: SiteView, peer: SiteView) -> Plan | None:
    if not isinstance(half, Relation) or peer.half(picture.vm_id) is not None:
        return None
    # Only what the other site itself remembers counts: that it remembers nothing says nothing.
    told = peer.ledgers.get(picture.vm_id)
    if told is None or told.released_epoch < max(half.epoch, 1):
        return None
    why = (R.ENABLING, f"Removing what an earlier protection left at site {view.name}.")
    if half.test_vm is not None:
        return wait(R.ENABLING, f"A test VM of an earlier protection is still at site {view.name}.")
    epoch = max(picture.ledger(view).epoch, half.epoch, 1)
    return order(picture, view, Verb.DISABLE_REPLICATION, Removal(), expects=(half.state,), why=why, epoch=epoch)


def removed(picture: Picture) -> Plan | None:
    """A half that was there and was not given up by command: somebody removed it, and somebody has to say what now."""
    source, target = picture.source, picture.target
    ledger = picture.ledger(picture.world.source)
    if source is None and isinstance(target, Relation):
        enabled = ledger.epoch >= target.epoch and ledger.epoch > ledger.released_epoch
        if enabled or target.newest_point is not None:
            return wait(R.RELATION_REMOVED, _removal(picture.site_names[0]))
    if source is None and target is None and ledger.epoch > ledger.released_epoch:
        return wait(R.RELATION_REMOVED, _removal(picture.site_names[0]))
    if isinstance(source, Relation) and target is None and source.state != "ReadyForInitialReplication":
        message = f"Site {picture.site_names[1]} has no replica of the VM any more, and the source still replicates. "
        return wait(R.REPLICA_MISSING, message + _REMEDY)
    return None


_REMEDY = "Delete this object, wait until it is gone, and create it again: the VM is then copied anew."


def _removal(site: str) -> str:
    return f"Site {site} has no replication of the VM any more, and not by command of this vault. {_REMEDY}"
