"""The site side put together: mirrors, clients, feeds, keys, registration, fences, and the actor behind one door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from secondsite.api.kind import Object
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.act import Actor, Declared
from secondsite.controller.authority import Authorities, VaultKey
from secondsite.controller.clients import Clients
from secondsite.controller.feed import Feeds
from secondsite.controller.fence import Fences, Leadership
from secondsite.controller.kube import Kube
from secondsite.controller.ports import News, Receipt, SiteFacts, SiteKey
from secondsite.controller.registration import Registrar
from secondsite.controller.sites import Sites
from secondsite.controller.vaultkeys import VaultKeys
from secondsite.plan.observed import UNKNOWN, Identity, SiteView, Unknown
from secondsite.trust.contexts import shrink_tls_buffers
from secondsite.trust.names import Role


class SiteSide:
    """Fulfils `ports.SitesPort` and `ports.VaultsPort`; `actor` fulfils `ports.ActorPort`."""

    def __init__(self, kube: Kube, namespace: str, lease: Leadership, declared: Declared) -> None:
        shrink_tls_buffers()
        self._sites = Sites()
        self._declared = declared
        self._lease = lease
        self._authorities = Authorities(kube, namespace, self._vault_changed)
        self._clients = Clients(self._authorities)
        self._feeds = Feeds(self._sites, self._clients)
        self._vault_of: dict[SiteKey, VaultKey] = {}
        self.actor = Actor(
            declared=declared,
            sites=self._sites,
            clients=self._clients,
            feeds=self._feeds,
            authorities=self._authorities,
            registrar=Registrar(kube, namespace, self._authorities, self._clients),
            fences=Fences(lease, self._sites),
        )

    async def close(self) -> None:
        """Stop following the sites and close every connection."""
        await self._feeds.close()
        await self._authorities.close()
        await self._clients.close()

    def view(self, namespace: str, name: str) -> SiteView:
        return self._sites.view(namespace, name)

    def ready(self, namespace: str, name: str) -> bool:
        return self._sites.ready(namespace, name)

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        return self._sites.reached(namespace, receipt)

    def subscribe(self, listener: News, /) -> None:
        self._sites.subscribe(listener)

    def sync(self, sites: Mapping[SiteKey, Object[VMMSiteSpec]], /) -> None:
        """These are all VMMSites now."""
        self._vault_of = {key: (site.namespace, site.spec.vault_ref.name) for key, site in sites.items()}
        for vault in set(self._vault_of.values()):
            self._authorities.wanted(vault)
        self._feeds.sync(sites)

    def facts(self, namespace: str, name: str) -> SiteFacts:
        """What is known of a VMMSite beside its feed."""
        key = (namespace, name)
        mirror = self._sites.mirror(key)
        keys = self._keys(self._vault_of.get(key))
        registration = keys.registrations.get(name) if keys is not None else None
        peer = mirror.peer
        if mirror.contact.reason.startswith(("Certificate", "Peer")):
            return SiteFacts(
                peer="Stranger",
                certificate_expiry=peer.not_after if peer else None,
                registration=registration,
                checks=mirror.checks,
            )
        if peer is None or mirror.contact.answer != "Reachable":
            return SiteFacts(registration=registration, checks=mirror.checks)
        return SiteFacts(
            peer="Agent" if peer.name.role is Role.AGENT else "Bootstrap",
            certificate_expiry=peer.not_after if peer.name.role is Role.AGENT else None,
            registration=registration,
            checks=mirror.checks,
        )

    def identity(self, namespace: str, vault: str) -> Identity:
        """Who commands for this vault; its id is empty until the authority's Secret was read."""
        keys = self._keys((namespace, vault))
        return Identity(keys.vault_id if keys is not None else "", self._lease.control_plane)

    def authorities(self, namespace: str, vault: str) -> tuple[tuple[str, datetime], ...] | Unknown:
        """(fingerprint, expiry) of each; UNKNOWN until the Secret was read and, without one, every site was probed."""
        self._authorities.wanted((namespace, vault))
        keys = self._authorities.get((namespace, vault))
        if isinstance(keys, Unknown):
            return UNKNOWN
        if keys is not None:
            return tuple((authority.fingerprint, authority.expiry_time) for authority in keys.authorities)
        probed = all(self._sites.mirror(key).foreign is not None for key in self._sites_of((namespace, vault)))
        return () if probed else UNKNOWN

    def foreign_sites(self, namespace: str, vault: str) -> tuple[str, ...]:
        """Sites of this vault that answer with an authority which we do not hold."""
        return tuple(key[1] for key in self._sites_of((namespace, vault)) if self._sites.mirror(key).foreign)

    def _sites_of(self, vault: VaultKey) -> list[SiteKey]:
        return sorted(key for key, of in self._vault_of.items() if of == vault)

    def _keys(self, vault: VaultKey | None) -> VaultKeys | None:
        return self._authorities.held(vault) if vault is not None else None

    def _vault_changed(self, vault: VaultKey) -> None:
        self._sites.tell((vault[0], ""), "Vault", vault[1])
