"""What is to be said of a ProtectedVM: its conditions, the one word for the eye, and when they turn by themselves."""

from dataclasses import replace
from datetime import datetime

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding, Plan, Report, Trouble
from secondsite.plan.conditions import earliest, finding, fold
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.protectedvm.applied import settings_applied
from secondsite.plan.protectedvm.coverage import coverage
from secondsite.plan.protectedvm.delete import deadline
from secondsite.plan.protectedvm.errors import errors
from secondsite.plan.protectedvm.lag import lag
from secondsite.plan.protectedvm.mapped import network_mapped
from secondsite.plan.protectedvm.picture import GRACE, Picture, as_heard
from secondsite.plan.protectedvm.protected import protected
from secondsite.plan.protectedvm.state import state
from secondsite.plan.protectedvm.status import VOLATILE, fields, problem_reports
from secondsite.plan.protectedvm.tested import tested
from secondsite.plan.protectedvm.view import View


def judge(world: VMWorld, plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """The whole report."""
    view = View(Picture(as_heard(world)), Picture(world), plan, troubles)
    shield, behind, test = protected(view), lag(view), tested(view)
    parts = (shield, coverage(view), network_mapped(view))
    reach = _sites_reachable(view)
    # What a silent site would say is not known: that makes Ready Unknown, never False.
    heard = replace(reach, status="Unknown") if reach.status == "False" else reach
    ready = fold((*parts, heard), "The VM is protected, and everything about it is in order.", reason=R.READY)
    status = fields(
        view,
        state=state(view, shield),
        last_recovery_point=behind.point,
        last_test_failover=test.last,
        errors=problem_reports(errors(view)),
    )
    return Report(
        findings=(ready, *parts, reach, behind.finding, test.finding, settings_applied(view)),
        status=status,
        volatile=VOLATILE,
        due=_due(world, view, behind.due, test.due),
    )


def _sites_reachable(view: View) -> Finding:
    type_ = ProtectedVMCondition.SITES_REACHABLE
    if view.silent:
        return finding(type_, False, CommonReason.SITE_UNREACHABLE, view.silence)
    if view.world.target is None:
        return finding(type_, None, R.VALIDATING, "The target site is not known yet.")
    return finding(type_, True, R.SITES_REACHABLE, "Both sites answer.")


def _due(world: VMWorld, view: View, *moments: datetime | None) -> datetime | None:
    sites = (_end_of_grace(each, world.now) for each in (world.source, world.target) if each is not None)
    end = deadline(view.picture)
    return earliest(*moments, *sites, end if end and end > world.now else None, view.plan.due)


def _end_of_grace(view: SiteView, now: datetime) -> datetime | None:
    """When a silent site's VMs turn Unknown."""
    if view.known or view.contact.since is None:
        return None
    end = view.contact.since + GRACE
    return end if end > now else None
