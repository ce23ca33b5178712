"""The sandbox as a guest in a cluster that the user has: it comes only where it breaks nothing, and tidies up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from secondsite.errors import SecondsiteError
from secondsite.sandbox import assets
from secondsite.sandbox.kubectl import Kubectl

_WAIT = "--timeout=120s"
_ATTEMPTS = 5
_NAMED = 3
_SETTLE_SECONDS = 1.0


def require_untouched(kubectl: Kubectl, namespace: str) -> None:
    """Raises SecondsiteError where anything that is installed, or the namespace of the examples, is there already."""
    ours = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    wanted = assets.dump([*assets.install(), ours])
    found = kubectl("get", "--ignore-not-found", "-o", "name", "-f", "-", stdin=wanted).stdout.split()
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise SecondsiteError(
            f"The cluster has {', '.join(found[:_NAMED])}{more} already",
            "The sandbox removes at its end what it made, and would take those along. Use an empty test cluster.",
        )


def clean(kubectl: Kubectl, namespace: str, documents: Iterable[assets.Manifest]) -> None:
    """Remove the example objects while the operator can still let go of them, then everything that was installed."""
    ours = kubectl.within(namespace)
    for kind in ("testfailovers", "protectedvms", "networkmappings", "replicationpolicies", "vmmsites"):
        ours("delete", f"{kind}.secondsite.dev", "--all", "--ignore-not-found", _WAIT, timeout=150)
    _remove(kubectl, [document for document in documents if document["apiVersion"] == "v1" or _is_vault(document)])
    _remove(kubectl, assets.install())


def _remove(kubectl: Kubectl, documents: list[assets.Manifest]) -> None:
    """Delete until all are gone: the cluster may bring an aggregated role back that it was just about to fill."""
    text = assets.dump(reversed(documents))
    for _ in range(_ATTEMPTS):
        kubectl("delete", "--ignore-not-found", _WAIT, "-f", "-", stdin=text, timeout=150)
        time.sleep(_SETTLE_SECONDS)
        left = kubectl("get", "--ignore-not-found", "-o", "name", "-f", "-", stdin=text, check=False).stdout.split()
        if not left:
            return
    raise SecondsiteError(
        f"The cluster still has {', '.join(left)}", f"Remove by hand: kubectl delete {' '.join(left)}"
    )


def _is_vault(document: dict[str, Any]) -> bool:
    return bool(document["kind"] == "RecoveryVault")
