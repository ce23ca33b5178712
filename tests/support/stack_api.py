"""The API server as an administrator's scripts see it: one call each, JSON in and out, no kubectl to be started."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from secondsite.api.kind import API_VERSION
from secondsite.controller.kube import JSON, JSON_PATCH, MERGE_PATCH, SECRETS, Resource
from secondsite.controller.login import of_file
from secondsite.controller.vaultkeys import VaultKeys, from_secret, secret_name

Body = dict[str, Any]

VAULT = Resource(API_VERSION, "RecoveryVault", "recoveryvaults")
SITE = Resource(API_VERSION, "VMMSite", "vmmsites")
POLICY = Resource(API_VERSION, "ReplicationPolicy", "replicationpolicies")
MAPPING = Resource(API_VERSION, "NetworkMapping", "networkmappings")
VM = Resource(API_VERSION, "ProtectedVM", "protectedvms")
TEST = Resource(API_VERSION, "TestFailover", "testfailovers")
KINDS = (TEST, VM, POLICY, MAPPING, SITE, VAULT)


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Calls as the owner of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._login = of_file(kubeconfig)
        self._tls = self._login.context()

    def call(self, method: str, path: str, body: object = None, content_type: str = JSON) -> Body:
        """One request. Raises Refused for an answer that is an error, OSError for none."""
        request = urllib.request.Request(
            self._login.server + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._login.bearer()}", "Content-Type": content_type},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=20) as answer:
                found: Body = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from error

    def find(self, kind: Resource, namespace: str, name: str) -> Body | None:
        """The object, or None where there is none."""
        try:
            return self.call("GET", kind.path(namespace, name))
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None

    def list(self, kind: Resource, namespace: str) -> list[Body]:
        items: list[Body] = self.call("GET", kind.path(namespace))["items"]
        return items

    def create(self, kind: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        return self.call("POST", kind.path(namespace), whole)

    def patch(self, kind: Resource, namespace: str, name: str, body: Body, subresource: str = "") -> Body:
        """A merge patch."""
        return self.call("PATCH", kind.path(namespace, name, subresource), body, MERGE_PATCH)

    def json_patch(
        self, kind: Resource, namespace: str, name: str, operations: Iterable[Body], subresource: str = ""
    ) -> Body:
        return self.call("PATCH", kind.path(namespace, name, subresource), list(operations), JSON_PATCH)

    def delete(self, kind: Resource, namespace: str, name: str) -> None:
        self.call("DELETE", kind.path(namespace, name))

    def keys(self, operator_namespace: str, namespace: str, vault: str) -> VaultKeys:
        """A vault's keys, as the operator keeps them."""
        return from_secret(self.call("GET", SECRETS.path(operator_namespace, secret_name(namespace, vault))))

    def secret(self, namespace: str, name: str, entry: str) -> bytes | None:
        """One entry of a Secret, or None where there is no such Secret."""
        found = self.find(SECRETS, namespace, name)
        return base64.b64decode(found["data"][entry]) if found else None


def condition(body: Body | None, name: str) -> Body:
    """A condition of an object; of what is not there, Unknown without a reason."""
    conditions = (body or {}).get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == name), {"status": "Unknown", "reason": "", "message": ""})
