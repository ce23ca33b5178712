"""What a real API server accepts and refuses, and what it says then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config

from manifests import largest
from manifests.cases import Case, base, load, merged
from secondsite.api.kind import GROUP, VERSION, Kind
from secondsite.api.kinds import ALL_KINDS
from secondsite.sandbox.control_plane import ControlPlane

# All in one worker: they share the namespace, and need no control plane of their own.
pytestmark = pytest.mark.xdist_group("manifests")

CASES = list(load())
MEBIBYTE = 2**20
NAMESPACE = "manifests"

each_kind = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)

Body = dict[str, Any]


class RefusedError(Exception):
    """The API server's message."""


class Objects:
    """Objects of one kind in the namespace of this module. Fields are validated as kubectl has them validated."""

    def __init__(self, api: Any, kind: Kind[Any, Any]) -> None:
        self._api = api
        self._where = (GROUP, VERSION, NAMESPACE, kind.plural)

    def create(self, body: Body, *, dry: bool = False) -> Body:
        return self._send(self._api.create_namespaced_custom_object, *self._where, body, dry=dry)

    def replace(self, body: Body, *, dry: bool = False) -> Body:
        name = body["metadata"]["name"]
        return self._send(self._api.replace_namespaced_custom_object, *self._where, name, body, dry=dry)

    def replace_status(self, body: Body) -> Body:
        name = body["metadata"]["name"]
        return self._send(self._api.replace_namespaced_custom_object_status, *self._where, name, body, dry=False)

    def delete(self, name: str) -> None:
        self._api.delete_namespaced_custom_object(*self._where, name)

    def _send(self, call: Callable[..., Any], *arguments: Any, dry: bool) -> Body:
        options = {"dry_run": "All"} if dry else {}
        try:
            answer: Body = call(*arguments, field_validation="Strict", **options)
        except client.ApiException as error:
            raise RefusedError(json.loads(error.body or "{}")["message"]) from error
        return answer


@pytest.fixture(scope="module")
def api(cluster: ControlPlane) -> Iterator[Any]:
    connect: Any = config.new_client_from_config  # has no annotations
    connection = connect(str(cluster.kubeconfig()))
    core = client.CoreV1Api(connection)
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    yield client.CustomObjectsApi(connection)
    core.delete_namespace(NAMESPACE)
    connection.close()


def contains(whole: Any, part: Any) -> bool:
    """Whether `whole` has everything that `part` has; list items are compared one by one."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(contains(whole.get(key), value) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


@pytest.fixture
def send(api: Any) -> Iterator[Callable[[Case], Body]]:
    """Send a case to the API server; what it needs to exist exists for as long as the test."""
    stored: list[tuple[Objects, str]] = []

    def send(case: Case) -> Body:
        objects = Objects(api, case.kind)
        if case.stored is None:
            return objects.create(case.manifest, dry=True)
        there = objects.create(case.stored)["metadata"]
        stored.append((objects, there["name"]))
        version = {"metadata": {"resourceVersion": there["resourceVersion"]}}
        return objects.replace(merged(case.manifest, version), dry=True)

    yield send
    for objects, name in stored:
        objects.delete(name)


@pytest.mark.parametrize("case", [case for case in CASES if not case.refused], ids=str)
def test_accepted(case: Case, send: Callable[[Case], Body]) -> None:
    answer = send(case)
    assert contains(answer, case.becomes), answer
    if case.stored is None:
        assert answer["status"]["conditions"][0]["status"] == "Unknown"
    case.kind.spec.model_validate(answer["spec"])


@pytest.mark.parametrize("case", [case for case in CASES if case.refused], ids=str)
def test_refused(case: Case, send: Callable[[Case], Body]) -> None:
    with pytest.raises(RefusedError) as refusal:
        send(case)
    message = str(refusal.value)
    for text in case.refused:
        assert text in message
    # Not a rule that broke down instead of judging, nor one that gave up for its cost.
    for breakdown in ("no such key", "no such overload", "cost exceeds", "no further validation"):
        assert breakdown not in message


@each_kind
def test_the_largest_object_of_each_kind_is_accepted_and_below_one_mebibyte(kind: Kind[Any, Any], api: Any) -> None:
    objects = Objects(api, kind)
    name = f"largest-{kind.short_name}".ljust(50, "x")
    created = objects.create(merged(base(kind), {"metadata": {"name": name}, "spec": largest.spec(kind)}))
    try:
        whole = objects.replace_status({**created, "status": largest.status(kind)})
        assert whole["status"] == largest.status(kind)
        assert len(json.dumps(whole)) < MEBIBYTE
        assert objects.replace({**whole, "metadata": {**whole["metadata"], "annotations": {"a": "b"}}})
    finally:
        objects.delete(name)


@each_kind
def test_names_are_kept_short_enough_for_what_is_named_after_them(kind: Kind[Any, Any], api: Any) -> None:
    objects = Objects(api, kind)
    objects.create(merged(base(kind), {"metadata": {"name": "x" * 50}}), dry=True)
    with pytest.raises(RefusedError, match=r"`metadata\.name` must have at most 50 characters"):
        objects.create(merged(base(kind), {"metadata": {"name": "x" * 51}}), dry=True)


@each_kind
def test_a_field_that_the_status_does_not_have_is_refused_by_name(kind: Kind[Any, Any], api: Any) -> None:
    objects = Objects(api, kind)
    created = objects.create(merged(base(kind), {"metadata": {"name": "phase"}}))
    try:
        with pytest.raises(RefusedError, match=r'unknown field "status\.phase"'):
            objects.replace_status({**created, "status": {**created["status"], "phase": "Running"}})
    finally:
        objects.delete("phase")


def test_there_are_enough_cases_of_every_kind() -> None:
    assert len(CASES) >= 130
    for kind in ALL_KINDS:
        mine = [case for case in CASES if case.kind is kind]
        assert any(case.refused and case.stored for case in mine) or kind.name == "RecoveryVault"
        assert any("unknown field" in text for case in mine for text in case.refused)
        assert len({case.name for case in mine}) == len(mine)
