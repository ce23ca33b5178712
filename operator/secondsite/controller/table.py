"""All kinds, and what a turn of each consists of."""

from __future__ import annotations

from secondsite.api.networkmapping import NETWORK_MAPPING
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.api.replicationpolicy import REPLICATION_POLICY
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.api.vmmsite import VMM_SITE
from secondsite.controller.kinds import Row, Table
from secondsite.controller.observe import Observer
from secondsite.plan import networkmapping, policy, site, site_report, testfailover, vault
from secondsite.plan.protectedvm import decide, judge

_ROWS = (
    Row(RECOVERY_VAULT, Observer.vault, vault.plan, vault.judge),
    Row(VMM_SITE, Observer.site, site.plan, site_report.judge),
    Row(REPLICATION_POLICY, Observer.policy, policy.plan, policy.judge),
    Row(NETWORK_MAPPING, Observer.mapping, networkmapping.plan, networkmapping.judge),
    Row(PROTECTED_VM, Observer.vm, decide.plan, judge.judge),
    Row(TEST_FAILOVER, Observer.test, testfailover.plan, testfailover.judge),
)

TABLE: Table = {row.kind.name: row for row in _ROWS}
