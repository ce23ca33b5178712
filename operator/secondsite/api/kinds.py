"""All kinds of the API, in the order in which they refer to each other."""

from typing import Any

from secondsite.api.kind import Kind
from secondsite.api.networkmapping import NETWORK_MAPPING
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.api.replicationpolicy import REPLICATION_POLICY
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.api.vmmsite import VMM_SITE

ALL_KINDS: tuple[Kind[Any, Any], ...] = (
    RECOVERY_VAULT,
    VMM_SITE,
    REPLICATION_POLICY,
    NETWORK_MAPPING,
    PROTECTED_VM,
    TEST_FAILOVER,
)
