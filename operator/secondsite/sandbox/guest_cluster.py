"""The sandbox as a guest in a cluster that the user has: it comes only where it breaks nothing, and tidies up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secondsite.api.kinds import ALL_KINDS
from secondsite.errors import SecondsiteError
from secondsite.sandbox import assets
from secondsite.sandbox.kubectl import Kubectl

_WAIT = "--timeout=120s"


def require_untouched(kubectl: Kubectl, namespace: str) -> None:
    """Raises SecondsiteError where Secondsite, or the namespace of the examples, is there already."""
    wanted = [f"crd/{kind.crd_name}" for kind in ALL_KINDS] + [f"namespace/{namespace}"]
    found = kubectl("get", "--ignore-not-found", "-o", "name", *wanted).stdout.split()
    if found:
        raise SecondsiteError(
            f"The cluster has {', '.join(found)} already",
            "The sandbox removes at its end what it made, and would take those along. Use an empty test cluster.",
        )


def clean(kubectl: Kubectl, namespace: str, documents: Iterable[assets.Manifest]) -> None:
    """Remove the example objects while the operator can still let go of them, then everything that was installed."""
    ours = kubectl.within(namespace)
    for kind in ("testfailovers", "protectedvms", "networkmappings", "replicationpolicies", "vmmsites"):
        ours("delete", f"{kind}.secondsite.dev", "--all", "--ignore-not-found", _WAIT, timeout=150)
    for manifests in ([d for d in documents if d["apiVersion"] == "v1" or _is_vault(d)], assets.install()):
        kubectl("delete", "--ignore-not-found", _WAIT, "-f", "-", stdin=assets.dump(reversed(manifests)), timeout=150)


def _is_vault(document: dict[str, Any]) -> bool:
    return bool(document["kind"] == "RecoveryVault")
