"""The CRDs of all kinds: up to date, complete, and as the design of the API wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from secondsite.api.crd import HEAD, definition, file_name, render
from secondsite.api.kind import CATEGORY, Kind
from secondsite.api.kinds import ALL_KINDS
from secondsite.api.markers import LIST_MAP_KEYS, LIST_TYPE
from secondsite.api.structural import KEYWORDS
from secondsite.cli.crds import crds

CRDS = Path(__file__).parents[2] / "crds"

COLUMNS = {
    "RecoveryVault": ("READY SITES VMS CRITICAL AGE", ""),
    "VMMSite": ("DRIVER REACHABLE READY LAST-CONTACT AGE", "ENDPOINT REASON"),
    "ReplicationPolicy": ("INTERVAL RPO VMS IN-RPO READY LAST-TEST AGE", ""),
    "NetworkMapping": ("FROM SOURCE TO TARGET READY REASON AGE", "TEST-NETWORK"),
    "ProtectedVM": ("VM ACTIVE STATE READY RPO LAG REASON AGE", "POLICY POINTS PROGRESS"),
    "TestFailover": ("STATE READY CHECKS RTO CLEANED-UP AGE", ""),
}
SHORT_NAMES = ("vault", "site", "rpol", "netmap", "pvm", "tfo")

each_kind = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)


def root(kind: Kind[Any, Any]) -> dict[str, Any]:
    version = definition(kind)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for name in path.removeprefix(".").split("."):
        schema = schema["properties"][name]
    return schema


@each_kind
def test_the_file_is_what_the_types_say(kind: Kind[Any, Any]) -> None:
    assert (CRDS / file_name(kind)).read_bytes() == render(kind).encode(), "run `make crds`"


def test_there_is_one_file_per_kind() -> None:
    assert {path.name for path in CRDS.glob("*.yaml")} == {file_name(kind) for kind in ALL_KINDS}


@each_kind
def test_the_text_is_always_the_same_and_says_where_it_comes_from(kind: Kind[Any, Any]) -> None:
    assert render(kind) == render(kind)
    assert render(kind).startswith(HEAD)
    assert yaml.safe_load(render(kind)) == definition(kind)


@each_kind
def test_every_field_is_described_and_every_keyword_is_known_to_work(kind: Kind[Any, Any]) -> None:
    for path, node in nodes(root(kind), kind.name):
        assert node.keys() <= KEYWORDS, path
        if path != f"{kind.name}.metadata":
            assert path.endswith("[]") or node["description"].endswith("."), path


@each_kind
def test_every_field_of_the_spec_says_whether_it_can_change(kind: Kind[Any, Any]) -> None:
    words = ("Mutable.", "Immutable.", "Fixed once replication is enabled", "cannot be changed", "Can be set once")
    shared = ("excludedDisks[]", "Ref.name", "Refs[].name")  # a disk's slot is its identity; a reference says it itself
    for path, node in nodes(at(root(kind), "spec"), "spec"):
        if path == "spec" or path.endswith("[]") or any(part in path for part in shared):
            continue
        assert any(word in node["description"] for word in words), path


@each_kind
def test_defaults_and_ranges_are_said_because_explain_does_not_show_them(kind: Kind[Any, Any]) -> None:
    for path, node in nodes(at(root(kind), "spec"), "spec"):
        description = node.get("description", "")
        if isinstance(node.get("default"), str | int) and not isinstance(node.get("default"), bool):
            assert str(node["default"]) in description, path
        if node.get("type") == "integer" and "maximum" in node and node["maximum"] < 10**12:
            assert f"{node['minimum']}-{node['maximum']}" in description, path


@each_kind
def test_defaults_stand_in_the_spec_only_except_for_the_status_as_a_whole(kind: Kind[Any, Any]) -> None:
    status = at(root(kind), "status")
    assert [path for path, node in nodes(status, "status") if "default" in node] == ["status"]
    assert (
        status["default"]["conditions"][0] | {"type": "Ready", "status": "Unknown"}
        == (status["default"]["conditions"][0])
    )


@each_kind
def test_the_status_carries_no_rules_because_a_refused_status_says_nothing(kind: Kind[Any, Any]) -> None:
    for path, node in nodes(at(root(kind), "status"), "status"):
        assert "x-kubernetes-validations" not in node, path


@each_kind
def test_conditions_are_a_map_by_type(kind: Kind[Any, Any]) -> None:
    conditions = at(root(kind), "status.conditions")
    assert (conditions[LIST_TYPE], conditions[LIST_MAP_KEYS]) == ("map", ["type"])
    assert at(root(kind), "status.observedGeneration")["type"] == "integer"


@each_kind
def test_names_and_columns(kind: Kind[Any, Any]) -> None:
    columns = definition(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
    always, wide = COLUMNS[kind.name]
    assert " ".join(column["name"] for column in columns if "priority" not in column) == always
    assert " ".join(column["name"] for column in columns if column.get("priority") == 1) == wide
    assert definition(kind)["spec"]["names"]["categories"] == [CATEGORY]
    assert definition(kind)["spec"]["scope"] == "Namespaced"


def test_short_names() -> None:
    assert tuple(kind.short_name for kind in ALL_KINDS) == SHORT_NAMES


@each_kind
def test_columns_and_selectable_fields_exist(kind: Kind[Any, Any]) -> None:
    plain = [column for column in kind.columns if "[?" not in column.path and ".metadata" not in column.path]
    types = {"string": "string", "integer": "integer", "date": "string"}
    for column in plain:
        assert at(root(kind), column.path)["type"] == types[column.type], column.name
    for path in kind.selectable:
        assert at(root(kind), path)["type"] in ("string", "boolean", "integer"), path
    assert 1 <= len(kind.selectable) <= 8


def test_printed_they_can_be_applied() -> None:
    printed = CliRunner().invoke(crds)
    assert printed.exit_code == 0
    assert [crd["metadata"]["name"] for crd in yaml.safe_load_all(printed.output)] == [
        kind.crd_name for kind in ALL_KINDS
    ]


def test_written_they_pass_the_check_and_a_former_kind_goes(tmp_path: Path) -> None:
    (tmp_path / "secondsite.dev_widgets.yaml").write_text("old\n")
    (tmp_path / "kustomization.yaml").write_text("kept\n")
    assert CliRunner().invoke(crds, ["--write", "--dir", str(tmp_path)]).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "kustomization.yaml",
        *(file_name(kind) for kind in ALL_KINDS),
    }
    assert CliRunner().invoke(crds, ["--check", "--dir", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize("spoil", ["change", "remove", "add"])
def test_the_check_fails_on_any_difference_and_shows_it(tmp_path: Path, spoil: str) -> None:
    CliRunner().invoke(crds, ["--write", "--dir", str(tmp_path)])
    file = tmp_path / file_name(ALL_KINDS[0])
    match spoil:
        case "change":
            file.write_text(file.read_text().replace("maximum: 720", "maximum: 721"))
        case "remove":
            file.unlink()
        case _:
            (tmp_path / "secondsite.dev_widgets.yaml").write_text("maximum: 721\n")
    checked = CliRunner().invoke(crds, ["--check", "--dir", str(tmp_path)])
    assert checked.exit_code == 1
    assert "make crds" in checked.output
    assert "maximum: 72" in checked.output
