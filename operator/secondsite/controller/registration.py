"""Certificates for sites: bundles, their redemption bound to one key before anything is signed, and renewal."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

from secondsite import logs
from secondsite.api.kind import Object
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.agents import AgentClient
from secondsite.controller.authority import Authorities
from secondsite.controller.clients import Clients, Dialled
from secondsite.controller.kube import SECRETS, ApiError, Kube
from secondsite.controller.vaultkeys import LABELS, VaultKeys, bundle_secret_name
from secondsite.errors import NotYet, SpecRefused
from secondsite.plan.observed import Registration
from secondsite.trust.bundle import endpoint_host, issue_bundle
from secondsite.trust.certificates import Peer, serial_from_text, utc_now
from secondsite.trust.keys import PublicKey, fingerprint, requested_key
from secondsite.trust.names import Name, Role
from secondsite.wire.identity import CertificateInstall, IdentityRequest

_ASK = "Ask for a new bundle: set spec.requests.issueRegistration to a new value, and start the agent with it."
_log = logs.get(__name__)

Site = Object[VMMSiteSpec]
Vault = Object[RecoveryVaultSpec]


class Registrar:
    """Issues bundles and turns them into certificates. What is outstanding is remembered in the vault's Secret only."""

    def __init__(self, kube: Kube, namespace: str, authorities: Authorities, clients: Clients) -> None:
        self._kube = kube
        self._namespace = namespace
        self._authorities = authorities
        self._clients = clients

    async def issue(self, site: Site, vault: Vault, token: str) -> None:
        """Hand a bundle out, then record it as outstanding: unrecorded it opens nothing, and the next turn replaces it.

        The other way round a crash in between would leave a record that keeps everybody waiting for a missing Secret.
        """
        keys = self._clients.keys(site)
        now = utc_now()
        bundle = issue_bundle(
            keys.signer,
            trust=keys.trust,
            namespace=site.namespace,
            site=site.name,
            site_uid=site.uid,
            endpoint=site.spec.endpoint,
            now=now,
            expiry_time=now + timedelta(hours=vault.spec.registration_key_validity_hours),
        )
        outstanding = Registration(bundle.serial, bundle.expiry_time, site.uid, site.spec.endpoint, token)
        await self._write_secret(site, bundle.to_json())
        await self._authorities.change(_vault_of(site), lambda now: now.with_registration(site.name, outstanding))
        _log.info("registration_issued", site=site.name, serial=bundle.serial)

    async def redeem(self, site: Site, vault: Vault) -> Peer:
        """Turn the outstanding bundle into a certificate. Every step may be repeated after a crash at any point.

        Returns whose certificate the site shows now. Raises SpecRefused for a bundle that is not outstanding, expired,
        for another object or bound to another key.
        """
        dialled = self._clients.once(site)
        try:
            await dialled.client.info()
            bundle = self._check_bootstrap(site, dialled.peer)
            key = await self._requested(site, dialled)
            _check_pin(site, fingerprint(key))
            await self._authorities.change(_vault_of(site), lambda now: _bind(now, site, bundle, fingerprint(key)))
            await self._install(site, vault, dialled.client, key)
        finally:
            await dialled.client.close()
        shown = await self._confirm(site, fingerprint(key))
        _log.info("site_registered", site=site.name, key=fingerprint(key))
        return shown

    async def renew(self, site: Site, vault: Vault) -> Peer:
        """A new key and certificate over the present identity, which may have expired within the grace."""
        dialled = self._clients.once(site, expired=True)
        try:
            await dialled.client.info()
            if dialled.peer is None or dialled.peer.name.role is not Role.AGENT:
                raise NotYet(f"Site {site.name} is not registered, so there is nothing to renew", delay=5)
            key = await self._requested(site, dialled)
            await self._install(site, vault, dialled.client, key)
        finally:
            await dialled.client.close()
        shown = await self._confirm(site, fingerprint(key))
        _log.info("certificate_renewed", site=site.name, key=fingerprint(key))
        return shown

    async def drop(self, site: Site) -> None:
        """Void a bundle: first the Secret, so that nobody is handed one that is void.

        That there was one is remembered, so that a site which is silent for a while gets no second one.
        """
        try:
            await self._kube.delete(SECRETS, self._namespace, bundle_secret_name(site.namespace, site.name))
        except ApiError as error:
            if error.status != 404:
                raise
        await self._authorities.change(_vault_of(site), lambda now: _spend(now, site))

    def _check_bootstrap(self, site: Site, peer: Peer | None) -> str:
        """The serial of the bundle, which is outstanding."""
        outstanding = self._clients.keys(site).registrations.get(site.name)
        if peer is None or peer.name.role is not Role.BOOTSTRAP:
            raise NotYet(f"Site {site.name} shows no bundle", delay=5)
        if outstanding is None or not outstanding.serial or serial_from_text(outstanding.serial) != peer.serial:
            raise SpecRefused(
                f"Site {site.name} shows a bundle (serial {peer.serial:x}) that is spent, replaced or was never issued",
                _ASK,
                reason="BundleNotOutstanding",
            )
        if utc_now() >= outstanding.expiry:
            raise SpecRefused(
                f"The bundle of site {site.name} expired at {outstanding.expiry:%Y-%m-%dT%H:%M:%SZ}",
                _ASK,
                reason="BundleExpired",
            )
        if (outstanding.site_uid, outstanding.endpoint) != (site.uid, site.spec.endpoint) or peer.name.uid != site.uid:
            raise SpecRefused(
                f"The bundle of site {site.name} was made for another object or endpoint ({outstanding.endpoint})",
                _ASK,
                reason="BundleForOther",
            )
        return outstanding.serial

    async def _requested(self, site: Site, dialled: Dialled) -> PublicKey:
        """The key that the site made; the names in its request count for nothing."""
        request = IdentityRequest(vault_id=dialled.trust.vault_id, site=site.name)
        return requested_key((await dialled.client.request_certificate(request)).certificate_request)

    async def _install(self, site: Site, vault: Vault, client: AgentClient, key: PublicKey) -> None:
        keys = self._clients.keys(site)
        certificate = keys.signer.issue(
            Name(keys.vault_id, Role.AGENT, site.name),
            key,
            utc_now(),
            timedelta(days=vault.spec.agent_certificate_validity_days),
            (endpoint_host(site.spec.endpoint),),
        )
        await client.install_certificate(
            CertificateInstall(certificate=certificate, authorities=list(keys.trust.authorities))
        )

    async def _confirm(self, site: Site, key: str) -> Peer:
        """Only a new connection proves that the certificate is in use."""
        dialled = self._clients.once(site)
        try:
            await dialled.client.info()
        finally:
            await dialled.client.close()
        peer = dialled.peer
        if peer is None or peer.name.role is not Role.AGENT or peer.key_fingerprint != key:
            raise NotYet(f"Site {site.name} does not show its new certificate yet", delay=1)
        return peer

    async def _write_secret(self, site: Site, bundle: str) -> None:
        name = bundle_secret_name(site.namespace, site.name)
        body = {
            "metadata": {"name": name, "labels": LABELS},
            "type": "secondsite.dev/registration",
            "data": {"bundle.json": base64.b64encode(bundle.encode()).decode()},
        }
        try:
            await self._kube.create(SECRETS, self._namespace, body)
        except ApiError as error:
            if error.status != 409:
                raise
            await self._kube.replace(SECRETS, self._namespace, name, body)


def _vault_of(site: Site) -> tuple[str, str]:
    return site.namespace, site.spec.vault_ref.name


def _check_pin(site: Site, key: str) -> None:
    """The pin is of the key that registers: each renewal makes a new one, and is asked for over a proven identity."""
    pin = site.spec.agent_key_fingerprint
    if pin and pin != key:
        raise SpecRefused(
            f"The agent at {site.spec.endpoint} has the key {key}, "
            f"spec.agentKeyFingerprint of site {site.name} says {pin}",
            "Somebody else may answer at that address. Compare with what `secondsite agent run` printed.",
            reason="KeyPinMismatch",
        )


def _bind(keys: VaultKeys, site: Site, bundle: str, key: str) -> VaultKeys:
    """Bind the outstanding bundle to one key, for good. Raises SpecRefused when it is bound to another."""
    outstanding = keys.registrations.get(site.name)
    if outstanding is None or outstanding.serial != bundle:
        raise SpecRefused(f"The bundle of site {site.name} is not outstanding any more", _ASK, reason="BundleSpent")
    if outstanding.bound_key and outstanding.bound_key != key:
        raise SpecRefused(
            f"The bundle of site {site.name} is bound to the key {outstanding.bound_key}, but {key} asks",
            f"If you did not start a second agent, somebody has a copy of the bundle. {_ASK}",
            reason="BundleBoundToOther",
        )
    return keys.with_registration(site.name, replace(outstanding, bound_key=key))


def _spend(keys: VaultKeys, site: Site) -> VaultKeys:
    record = keys.registrations.get(site.name)
    return keys if record is None else keys.with_registration(site.name, replace(record, serial=""))
