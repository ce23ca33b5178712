"""What a kind is: its names, its types, how kubectl prints it; and an object of one, parsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from secondsite.api.base import Model
from secondsite.api.condition import Status

GROUP = "secondsite.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "secondsite"

S = TypeVar("S", bound=Model)
T = TypeVar("T", bound=Status)

_MOMENT = TypeAdapter(datetime)


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; `wide` ones appear with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


def condition_column(name: str, condition: str, *, field: str = "status", wide: bool = False) -> Column:
    """A column with the status, or another field, of a condition."""
    path = f'.status.conditions[?(@.type=="{condition}")].{field}'
    return Column(name, path, f"The {field} of the condition {condition}.", wide=wide)


READY = condition_column("READY", "Ready")
REASON = condition_column("REASON", "Ready", field="reason")
AGE = Column("AGE", ".metadata.creationTimestamp", "Time since the object was created.", type="date")


@dataclass(frozen=True)
class Kind(Generic[S, T]):
    """One kind of the API.

    `selectable` are the paths that `--field-selector` takes, `initial_state` is `status.state` of a new object;
    a spec that is not required is all defaults.
    """

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[S]
    status: type[T]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    initial_state: str | None = None
    spec_required: bool = True

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"


@dataclass(frozen=True, slots=True)
class Object(Generic[S]):
    """What the operator keeps of an object: identity and wish. Its status is not kept: it is derived."""

    namespace: str
    name: str
    uid: str
    generation: int
    creation_timestamp: datetime
    deletion_timestamp: datetime | None
    finalizers: tuple[str, ...]
    spec: S

    @property
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None


def parse(kind: Kind[S, Any], body: Mapping[str, Any]) -> Object[S]:
    """Parse an object as the API server returns it.

    Raises ValueError when the spec cannot be read, as with a value that only a newer version knows: the caller reports
    it at that object and goes on with the others.
    """
    metadata = body["metadata"]
    deleted = metadata.get("deletionTimestamp")
    return Object(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        creation_timestamp=_MOMENT.validate_python(metadata["creationTimestamp"]),
        deletion_timestamp=None if deleted is None else _MOMENT.validate_python(deleted),
        finalizers=tuple(metadata.get("finalizers", ())),
        spec=kind.spec.model_validate(body.get("spec") or {}),
    )
