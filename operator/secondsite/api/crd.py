"""The CustomResourceDefinitions, made from the types of the API."""

from typing import Any

import yaml
from pydantic.json_schema import JsonSchemaValue

from secondsite.api.condition import CommonReason
from secondsite.api.kind import CATEGORY, GROUP, VERSION, Column, Kind
from secondsite.api.markers import Rule, with_rules
from secondsite.api.structural import structural, without_empty

HEAD = "# Generated from operator/secondsite/api by `make crds`: do not edit.\n"

NAME_LENGTH = Rule("self.metadata.name.size() <= 50", "`metadata.name` must have at most 50 characters")


def _status(kind: Kind[Any, Any]) -> JsonSchemaValue:
    """The schema of the status; a new object says at once that it has not been looked at."""
    waiting = {
        "type": "Ready",
        "status": "Unknown",
        "reason": CommonReason.PENDING.value,
        "message": "Waiting for the operator to look at this object.",
        # The API server has no clock in defaults.
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    state = {} if kind.initial_state is None else {"state": str(kind.initial_state)}
    return {**structural(kind.status), "default": {**state, "conditions": [waiting]}}


def _schema(kind: Kind[Any, Any]) -> JsonSchemaValue:
    spec = structural(kind.spec)
    if not kind.spec_required:
        spec["default"] = without_empty(kind.spec().manifest())
    root = {
        "type": "object",
        "description": kind.description,
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.name}."},
            "metadata": {"type": "object"},  # the server refuses even a description here
            "spec": spec,
            "status": _status(kind),
        },
        **({"required": ["spec"]} if kind.spec_required else {}),
    }
    return with_rules(root, (NAME_LENGTH,))


def _column(column: Column) -> dict[str, Any]:
    entry = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    return {**entry, "priority": 1} if column.wide else entry


def definition(kind: Kind[Any, Any]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind as plain data."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "selectableFields": [{"jsonPath": path} for path in kind.selectable],
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": [kind.short_name],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "secondsite"}},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


class _Dumper(yaml.SafeDumper):
    """Repeats what is there twice instead of referring to it, as a person would write it."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def render(kind: Kind[Any, Any]) -> str:
    """The file of a kind in crds/: the same text for the same types, always."""
    text = yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"{HEAD}{text}"


def file_name(kind: Kind[Any, Any]) -> str:
    """Name of that file."""
    return f"{GROUP}_{kind.plural}.yaml"
