"""The site's own resources, idempotent by id: associations, reservations, test networks, tombstones."""

from typing import Literal

from pydantic import Field

from secondsite.wire.agent import Fence
from secondsite.wire.arguments import Endpoint, Owner
from secondsite.wire.base import Message


class StoragePair(Message):
    """Where replicas of a storage classification go."""

    source: str
    target: str


class AssociationWish(Message):
    """`PUT /v1/associations/{id}`: prepare one side of a pair of clouds (listener, authorization, certificate)."""

    fence: Fence
    role: Literal["Source", "Target"]
    cloud: str
    peer_site: str
    peer_cloud: str
    owner: Owner
    authentication: Literal["Certificate", "Kerberos"] = "Certificate"
    port: int = Field(ge=1, le=65535)
    storage: tuple[StoragePair, ...] = ()
    endpoint: Endpoint | None = None
    """To the source: where the target takes data."""
    hurry: float = 1.0
    """Factor of the peer; refused where it differs from this site's."""


class AssociationAnswer(Message):
    """The target's answer names where it takes data."""

    id: str
    data_endpoint: Endpoint | None = None
    revision: int
    instance: str


class ReservationWish(Message):
    """`PUT /v1/reservations/{vmID}/{adapter}`: addresses for one adapter; the site chooses where none is wished."""

    fence: Fence
    network: str
    subnets: list[str]
    """Target subnets (CIDR) in which one address each is wanted."""
    addresses: tuple[str, ...] = ()
    """Fixed wishes; refused with `InUse` where another holds one."""


class ReservationAnswer(Message):
    """Always the same addresses for the same adapter until they are released."""

    addresses: list[str]
    revision: int
    instance: str


class TestNetworkWish(Message):
    """`PUT /v1/testnetworks/{id}`: an isolated network for one test. The id is the test's identity."""

    fence: Fence
    name: str
    isolated: bool = True


class TombstoneWish(Message):
    """`PUT /v1/tombstones/{id}`: what a deletion that ran out of time still owes at this site."""

    fence: Fence
    vault: str
    vm_id: str
    epoch: int
    steps: tuple[str, ...] = ()


class Done(Message):
    """An answer to a change that has nothing to tell but where its effect can be seen."""

    revision: int
    instance: str
