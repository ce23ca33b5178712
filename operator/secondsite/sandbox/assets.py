"""What the sandbox applies: files of this checkout, or their copies that an installed package brings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

_CHECKOUT = Path(__file__).parents[3]
ROOT = _CHECKOUT if (_CHECKOUT / "deploy").is_dir() else Path(sys.prefix) / "share" / "secondsite"

INSTALL = ROOT / "deploy" / "install.yaml"
MANIFESTS = ROOT / "examples" / "manifests"
REHEARSAL = MANIFESTS / "rehearsal" / "test-failover.yaml"
SITES = ROOT / "examples" / "sites"

# The sandbox's operator is a process of this machine, not a pod.
_NOT_HERE = ("Deployment", "Service")

Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    """All manifests of a file, or of a folder's files in the order of their names; folders inside are left out."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [document for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]


def install() -> list[Manifest]:
    """Namespace, CRDs, service account and RBAC, as a cluster gets them."""
    return [document for document in load(INSTALL) if document["kind"] not in _NOT_HERE]


def dump(documents: Iterable[Manifest]) -> str:
    """Manifests as one YAML text."""
    return yaml.safe_dump_all(documents, sort_keys=False)


def with_endpoints(documents: Iterable[Manifest], endpoints: Mapping[str, str]) -> list[Manifest]:
    """The manifests with these endpoints (by name of the VMMSite) instead of those written there."""
    changed = []
    for document in documents:
        endpoint = endpoints.get(document["metadata"]["name"]) if document["kind"] == "VMMSite" else None
        spec = {**document["spec"], "endpoint": endpoint} if endpoint else document.get("spec")
        changed.append({**document, "spec": spec} if endpoint else document)
    return changed


def named(documents: Iterable[Manifest], kind: str) -> dict[str, Manifest]:
    """The manifests of one kind by name."""
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}
