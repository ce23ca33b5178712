"""Carries out what was planned at sites and with keys: one method per action, each safe to repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, assert_never

from secondsite import logs
from secondsite.api.kind import Object
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.agents import AgentClient
from secondsite.controller.authority import Authorities
from secondsite.controller.clients import Clients
from secondsite.controller.commands import check_due, check_outcome, to_request
from secondsite.controller.feed import Feeds
from secondsite.controller.fence import Fences
from secondsite.controller.ports import Key, Receipt, SiteKey
from secondsite.controller.registration import Registrar
from secondsite.controller.sites import Sites
from secondsite.errors import NotYet, SiteRefused, SiteUnreachable, SpecRefused
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Associate,
    Command,
    Configure,
    CreateAuthority,
    DeleteSelf,
    Dissociate,
    DropRegistration,
    IssueBundle,
    LeaveTombstone,
    MakeTestNetwork,
    Register,
    Release,
    RemoveFinalizer,
    RemoveTestNetwork,
    Renew,
    Reserve,
    WriteEvidence,
)
from secondsite.plan.observed import Identity
from secondsite.trust.certificates import utc_now
from secondsite.wire.agent import Fence
from secondsite.wire.base import Message

Site = Object[VMMSiteSpec]
ResourceAction = (
    Associate | Dissociate | Reserve | Release | MakeTestNetwork | RemoveTestNetwork | Configure | LeaveTombstone
)

_MOST_CALLS = 8
"""To one site at a time; half of the workers, so that the other sites are served."""

A = TypeVar("A")
W = TypeVar("W", bound=Message)
Call = Callable[[AgentClient, Fence], Awaitable[A]]


class Answer(Protocol):
    """What every change at a site is answered with."""

    @property
    def instance(self) -> str: ...
    @property
    def revision(self) -> int: ...


_log = logs.get(__name__)


class Declared:
    """What the catalogue is asked for here."""

    def __init__(
        self,
        site: Callable[[str, str], Site | None],
        vault: Callable[[str, str], Object[RecoveryVaultSpec] | None],
    ) -> None:
        self.site = site
        self.vault = vault


class Actor:
    """Performs the actions that go to sites or concern keys."""

    def __init__(
        self,
        *,
        declared: Declared,
        sites: Sites,
        clients: Clients,
        feeds: Feeds,
        authorities: Authorities,
        registrar: Registrar,
        fences: Fences,
    ) -> None:
        self._declared = declared
        self._sites = sites
        self._clients = clients
        self._feeds = feeds
        self._authorities = authorities
        self._registrar = registrar
        self._fences = fences
        self._calls: Counter[SiteKey] = Counter()

    async def perform(self, key: Key, action: Action, obj: Object[Any]) -> Receipt | None:
        """Carry out one action for `obj`. Raises one of the five kinds of error, never anything else on purpose."""
        match action:
            case Command():
                return await self._command(obj.namespace, action)
            case CreateAuthority():
                await self._authorities.create((obj.namespace, obj.name), utc_now())
                self._sites.tell((obj.namespace, ""), "Vault", obj.name)
            case IssueBundle() | Register() | Renew() | DropRegistration():
                await self._certify(obj.namespace, action)
            case AddFinalizer() | RemoveFinalizer() | DeleteSelf() | WriteEvidence():
                raise TypeError(f"{type(action).__name__} of {key} is the cluster's business, not a site's")
            case _:
                answer = await self._under_fence(obj.namespace, action.site, _resource_call(action))
                return Receipt(action.site, answer.instance, answer.revision)
        return None

    async def _certify(self, namespace: str, action: IssueBundle | Register | Renew | DropRegistration) -> None:
        site = self._site(namespace, action.site)
        vault = self._declared.vault(namespace, site.spec.vault_ref.name)
        if vault is None:
            raise SpecRefused(f"There is no RecoveryVault {site.spec.vault_ref.name}", reason="ReferenceNotFound")
        match action:
            case IssueBundle(_, token):
                await self._registrar.issue(site, vault, token)
            case Register():
                self._sites.shown((namespace, site.name), await self._registrar.redeem(site, vault))
                self._feeds.redial((namespace, site.name))
            case Renew():
                self._sites.shown((namespace, site.name), await self._registrar.renew(site, vault))
                self._feeds.redial((namespace, site.name))
            case DropRegistration():
                await self._registrar.drop(site)
            case _:
                assert_never(action)
        self._sites.tell((namespace, site.name), "Contact", "")

    async def _command(self, namespace: str, command: Command) -> Receipt:
        view = self._sites.view(namespace, command.site)
        check_due(command, view.operations.get(command.vm_id, ()), utc_now() + view.skew)
        identity = self._identity(namespace, command.site)

        async def send(client: AgentClient, fence: Fence) -> Receipt:
            key, request = to_request(command, view, identity, fence)
            answer = await client.start(key, request)
            _log.info(
                "command_sent",
                site=command.site,
                verb=command.verb.value,
                vm=command.vm_id,
                attempt=request.attempt,
                state=answer.state,
            )
            check_outcome(command, answer.state, answer.code, answer.message, answer.remedy)
            return Receipt(command.site, answer.instance, answer.revision)

        return await self._under_fence(namespace, command.site, send)

    async def _under_fence(self, namespace: str, site: str, call: Call[A]) -> A:
        """Send with our fence; once more with a higher one where the site has seen a higher one.

        Raises SiteUnreachable at once for a site that is known to be silent, and NotYet while enough calls to it are
        under way: one site that hangs must not keep the others waiting.
        """
        client, key = self._clients.of(self._site(namespace, site)).client, (namespace, site)
        contact = self._sites.view(*key).contact
        if contact.answer == "Unreachable":
            raise SiteUnreachable(f"Site {site} does not answer: {contact.message}")
        if self._calls[key] >= _MOST_CALLS:
            raise NotYet(f"{_MOST_CALLS} calls to site {site} are under way already", delay=1)
        self._calls[key] += 1
        try:
            return await self._twice(client, call)
        finally:
            self._calls[key] -= 1

    async def _twice(self, client: AgentClient, call: Call[A]) -> A:
        try:
            return await call(client, await self._fences.current())
        except SiteRefused as refusal:
            await self._fences.refused(refusal)
        return await call(client, await self._fences.current())

    def _site(self, namespace: str, name: str) -> Site:
        site = self._declared.site(namespace, name)
        if site is None:
            raise SpecRefused(f"There is no VMMSite {name} in namespace {namespace}", reason="ReferenceNotFound")
        return site

    def _identity(self, namespace: str, site: str) -> Identity:
        return Identity(self._clients.keys(self._site(namespace, site)).vault_id, self._fences.control_plane)


def _resource_call(action: ResourceAction) -> Call[Answer]:
    """The call that puts or deletes one of the site's resources."""
    match action:
        case Associate(id=id_, wish=association):
            return lambda client, fence: client.associate(id_, _with(association, fence))
        case Reserve(vm_id=vm_id, adapter=adapter, wish=reservation):
            return lambda client, fence: client.reserve(vm_id, adapter, _with(reservation, fence))
        case MakeTestNetwork(id=id_, wish=network):
            return lambda client, fence: client.make_test_network(id_, _with(network, fence))
        case LeaveTombstone(id=id_, wish=tombstone):
            return lambda client, fence: client.leave_tombstone(id_, _with(tombstone, fence))
        case Configure(settings=settings):
            return lambda client, fence: client.configure(_with(settings, fence))
        case Dissociate(id=id_):
            return lambda client, fence: client.remove("associations", id_, fence=fence)
        case Release(vm_id=vm_id, adapter=adapter):
            return lambda client, fence: client.remove("reservations", vm_id, adapter, fence=fence)
        case RemoveTestNetwork(id=id_):
            return lambda client, fence: client.remove("testnetworks", id_, fence=fence)
        case _:
            assert_never(action)


def _with(wish: W, fence: Fence) -> W:
    return wish.model_copy(update={"fence": fence})
