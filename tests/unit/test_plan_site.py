"""Vaults and sites: what is planned and reported in every situation of registration."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from secondsite.api.kind import parse
from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.api.vmmsite import VMM_SITE
from secondsite.plan import site as site_plan
from secondsite.plan import site_report, vault
from secondsite.plan.actions import (
    AddFinalizer,
    Command,
    Configure,
    CreateAuthority,
    DropRegistration,
    IssueBundle,
    Plan,
    Register,
    RemoveFinalizer,
    Renew,
    Report,
    Trouble,
)
from secondsite.plan.finalizers import IN_USE
from secondsite.plan.observed import (
    UNKNOWN,
    Contact,
    Identity,
    Registration,
    SiteView,
    SiteWorld,
    VaultWorld,
    VMSummary,
)
from secondsite.wire.agent import AgentInfo, Check, Verdict
from secondsite.wire.inventory import Cloud, Network, Pool, Site, Subnet
from secondsite.wire.operations import digest

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ENDPOINT = "https://127.0.0.9:8443"
INFO = AgentInfo(id="a", site="newyork", version="1", driver="lab", registered=True, key_fingerprint="f", time=NOW)
OUTSTANDING = Registration("ab", NOW + timedelta(hours=5), "uid-newyork", ENDPOINT)
SPENT = replace(OUTSTANDING, serial="", bound_key="k")


def body(name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    known = {"namespace": "recovery", "name": name, "uid": f"uid-{name}", "creationTimestamp": NOW.isoformat()}
    return {"metadata": {**known, **metadata}, "spec": spec}


def vault_world(**changes: Any) -> VaultWorld:
    obj = parse(RECOVERY_VAULT, body("vault", changes.pop("spec", {}), **changes.pop("metadata", {})))
    return replace(VaultWorld(NOW, obj, Identity("v", "c"), authorities=()), **changes)


def site_world(**changes: Any) -> SiteWorld:
    spec = {"vaultRef": {"name": "vault"}, "endpoint": ENDPOINT, **changes.pop("spec", {})}
    obj = parse(VMM_SITE, body("newyork", spec, **changes.pop("metadata", {})))
    view = changes.pop("view", SiteView("newyork"))
    return replace(SiteWorld(NOW, obj, vault_world().vault, Identity("v", "c"), view), **changes)


def answering(**changes: Any) -> SiteView:
    cloud = Cloud("prod", 2, 3)
    settled = Site("Ready", "vmm", "10", clouds=(cloud,), settings_digest=digest(site_plan.settings_of(site_world())))
    view = SiteView(
        "newyork",
        Contact("Reachable", NOW, NOW),
        synced=True,
        info=INFO,
        site=settled,
        networks={"n": Network("n", "l", "None", (Subnet("s", "10.0.0.0/24"),))},
        pools={"n/s": Pool("n", "s", "10.0.0.0/24", "10.0.0.10", "10.0.0.20", free=4)},
    )
    return replace(view, **changes)


def condition(report: Report, name: str) -> tuple[str, str]:
    found = next(finding for finding in report.findings if finding.type == name)
    return found.status, found.reason


def test_an_authority_is_made_only_where_none_is_held_and_none_in_use() -> None:
    assert vault.plan(vault_world()).actions == (CreateAuthority(),)
    assert vault.plan(vault_world(authorities=UNKNOWN)).actions == ()
    assert vault.plan(vault_world(authorities=(("f", NOW),))).actions == ()
    lost = vault_world(foreign_sites=("newyork",))
    assert vault.plan(lost).actions == ()
    assert condition(vault.judge(lost, Plan(), ()), "Ready") == ("False", "CertificateAuthorityLost")
    assert vault.plan(vault_world(older="first")).actions == ()


def test_a_vault_in_use_is_kept() -> None:
    used = vault_world(users=("VMMSite/newyork",), authorities=(("f", NOW),))
    assert vault.plan(used).actions == (AddFinalizer(IN_USE),)
    going = {"deletionTimestamp": NOW.isoformat(), "finalizers": [IN_USE]}
    assert vault.plan(vault_world(users=("VMMSite/newyork",), metadata=going)).actions == ()
    assert vault.plan(vault_world(metadata=going)).actions == (RemoveFinalizer(IN_USE),)


def test_the_vault_counts_sites_and_vms() -> None:
    vms = (VMSummary("a", "Protected", True, True, "Normal"), VMSummary("b", "Error", None, True, "Critical"))
    report = vault.judge(vault_world(authorities=(("f", NOW),), sites=(("x", True), ("y", False)), vms=vms), Plan(), ())
    assert report.status["sites"] == {"total": 2, "ready": 1}
    assert report.status["protectedVMs"] == {"total": 2, "healthy": 1, "warning": 0, "critical": 1}
    assert condition(report, "Ready") == ("False", "SitesNotReady")


def test_what_is_not_built_says_so() -> None:
    asked = vault_world(authorities=(("f", NOW),), spec={"requests": {"takeOver": "x"}})
    assert condition(vault.judge(asked, Plan(), ()), "Ready") == ("False", "NotImplemented")
    swept = site_world(peer="Agent", view=answering(), checks=(), spec={"requests": {"sweepTestVMs": "x"}})
    assert condition(site_report.judge(swept, Plan(), ()), "Ready") == ("False", "NotImplemented")


def actions(world: SiteWorld) -> list[str]:
    return [type(action).__name__ for action in site_plan.plan(world).actions]


def test_registration_step_by_step() -> None:
    assert actions(site_world(vault=None)) == []
    assert actions(site_world(identity=Identity("", "c"))) == []
    assert site_plan.plan(site_world()).actions == (IssueBundle("newyork", ""),)
    assert actions(site_world(registration=OUTSTANDING)) == []
    assert site_plan.plan(site_world(registration=OUTSTANDING, peer="Bootstrap")).actions == (Register("newyork"),)
    bound = replace(OUTSTANDING, bound_key="k")
    assert site_plan.plan(site_world(registration=bound, peer="Agent")).actions == (DropRegistration("newyork"),)
    assert actions(site_world(registration=SPENT, peer="Agent", view=answering())) == []


def test_a_registered_site_that_is_silent_gets_no_second_bundle() -> None:
    assert actions(site_world(registration=SPENT)) == []


def test_a_site_that_shows_an_agent_is_adopted_without_any_memory() -> None:
    assert actions(site_world(peer="Agent", view=answering())) == []


def test_a_new_token_an_endpoint_that_moved_or_another_object_ask_for_a_new_bundle() -> None:
    asked = {"requests": {"issueRegistration": "again"}}
    assert actions(site_world(registration=SPENT, spec=asked)) == ["IssueBundle"]
    assert actions(site_world(registration=replace(SPENT, token="again"), spec=asked)) == []
    moved = replace(OUTSTANDING, endpoint="https://127.0.0.1:1")
    assert actions(site_world(registration=moved)) == ["IssueBundle"]
    assert actions(site_world(registration=replace(SPENT, site_uid="old"))) == ["IssueBundle"]


def test_an_expired_bundle_waits_for_a_person() -> None:
    old = site_world(registration=replace(OUTSTANDING, expiry=NOW))
    assert actions(old) == []
    assert condition(site_report.judge(old, Plan(), ()), "Registered") == ("False", "BundleExpired")


def test_certificates_are_renewed_in_time_and_after_it() -> None:
    late = site_world(peer="Agent", view=answering(), certificate_expiry=NOW + timedelta(days=29))
    assert site_plan.plan(late).actions == (Renew("newyork"),)
    early = site_world(peer="Agent", view=answering(), certificate_expiry=NOW + timedelta(days=60))
    assert site_plan.plan(early).actions == ()
    assert site_plan.plan(early).due == NOW + timedelta(days=30)
    gone = SiteView("newyork", Contact("Unreachable", NOW, reason="CertificateExpired"))
    assert site_plan.plan(site_world(registration=SPENT, peer="Stranger", view=gone)).actions == (Renew("newyork"),)


def test_a_site_is_told_its_settings_once() -> None:
    limited = site_world(
        peer="Agent", view=answering(), spec={"replicationBandwidth": {"limitBytesPerSecond": 1_000_000}}
    )
    (configure,) = site_plan.plan(limited).actions
    assert isinstance(configure, Configure)
    assert configure.settings.bandwidth_limit_bytes_per_second == 1_000_000
    told = Site("Ready", settings_digest=digest(configure.settings))
    assert site_plan.plan(replace(limited, view=answering(site=told))).actions == ()
    assert site_plan.plan(replace(limited, view=answering(suspended=True))).actions == ()


def test_a_request_is_served_once() -> None:
    asked = site_world(peer="Agent", view=answering(), spec={"requests": {"refreshInventory": "now"}})
    (command,) = site_plan.plan(asked).actions
    assert isinstance(command, Command)
    assert command.request is not None
    view = answering()
    assert view.site is not None
    served = Site("Ready", settings_digest=view.site.settings_digest, served_requests=(("refreshInventory", "now"),))
    after = replace(asked, view=answering(site=served))
    assert site_plan.plan(after).actions == ()
    assert site_report.judge(after, Plan(), ()).status["requests"] == {"refreshInventory": "now"}


def test_deletion_waits_for_users_then_voids_the_bundle_then_lets_go() -> None:
    going = {"deletionTimestamp": NOW.isoformat(), "finalizers": [IN_USE]}
    assert actions(site_world(metadata=going, users=("ProtectedVM/a",), registration=OUTSTANDING)) == []
    assert actions(site_world(metadata=going, registration=OUTSTANDING)) == ["DropRegistration"]
    assert actions(site_world(metadata=going, registration=SPENT)) == ["RemoveFinalizer"]


def test_ready_names_what_to_mend_first() -> None:
    failed = Check(check="DataFolder", verdict=Verdict.FAILED, message="is full.", remedy="Make room.")
    report = site_report.judge(site_world(peer="Agent", view=answering(), checks=(failed,)), Plan(), ())
    assert condition(report, "Ready") == ("False", "PrerequisiteFailed")
    assert condition(report, "Reachable") == ("True", "Reachable")
    fine = site_report.judge(site_world(peer="Agent", view=answering(), checks=()), Plan(), ())
    assert condition(fine, "Ready") == ("True", "Ready")
    network: Any = fine.status["networks"]
    assert network[0]["subnets"][0]["pool"] == {"start": "10.0.0.10", "end": "10.0.0.20", "free": 4}


def test_a_refused_bundle_is_explained_in_the_condition() -> None:
    trouble = Trouble(None, "Refused", "BundleBoundToOther", "The bundle is bound.", "Ask for a new one.")
    report = site_report.judge(site_world(registration=OUTSTANDING, peer="Bootstrap"), Plan(), (trouble,))
    assert condition(report, "Registered") == ("False", "BundleSpent")


def test_a_spent_bundle_that_an_agent_shows_is_named_with_the_remedy() -> None:
    report = site_report.judge(site_world(registration=SPENT, peer="Bootstrap", view=answering()), Plan(), ())
    assert condition(report, "Registered") == ("False", "BundleSpent")
    message = next(finding.message for finding in report.findings if finding.type == "Registered")
    assert "issueRegistration" in message


PEERS: list[Literal["Agent", "Bootstrap", "Stranger", "Unknown"]] = ["Agent", "Bootstrap", "Stranger", "Unknown"]


@given(
    st.sampled_from(PEERS),
    st.sampled_from([None, OUTSTANDING, SPENT, replace(OUTSTANDING, expiry=NOW, bound_key="k")]),
    st.sampled_from([SiteView("newyork"), answering(), answering(synced=False), answering(site=None)]),
    st.sampled_from([{}, {"deletionTimestamp": NOW.isoformat(), "finalizers": [IN_USE]}]),
    st.sampled_from([(), ("ProtectedVM/a",)]),
    st.sampled_from([UNKNOWN, ()]),
    st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=80)]),
)
def test_every_world_has_an_answer(
    peer: Any, registration: Any, view: Any, metadata: Any, users: Any, checks: Any, expiry: Any
) -> None:
    seen = site_world(
        peer=peer,
        registration=registration,
        view=view,
        metadata=metadata,
        users=users,
        checks=checks,
        certificate_expiry=expiry,
    )
    decided = site_plan.plan(seen)
    report = site_report.judge(seen, decided, ())
    assert {f.type for f in report.findings} == {
        "Registered",
        "Reachable",
        "PrerequisitesMet",
        "InventorySynced",
        "Ready",
    }
    if users:
        assert not any(
            isinstance(action, RemoveFinalizer | DropRegistration) for action in decided.actions
        ) or peer == ("Agent")
    if peer == "Unknown" and registration is SPENT:
        assert not any(isinstance(action, IssueBundle | Register | Renew) for action in decided.actions)
