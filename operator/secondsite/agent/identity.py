"""Who this agent is: its key and certificate, whom it trusts, and how it came by them. Every step survives a crash."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from secondsite import logs
from secondsite.agent.registration import NEW_BUNDLE, Registration, load_bundle, load_registration
from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import RegistrationBundle
from secondsite.trust.certificates import load_chain, serial_from_text, serial_to_text
from secondsite.trust.files import remove_durably, write_durably
from secondsite.trust.identity import Identity, Trust, check_issued
from secondsite.trust.keys import fingerprint, key_from_pem, key_to_pem, make_request, new_key
from secondsite.trust.names import Name, Role
from secondsite.wire.identity import CertificateInstall, IdentityRequest, TrustUpdate
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

_ASK_AGAIN = "Ask for a new certificate request, then offer a certificate for its key."


class SiteIdentity:
    """Opens in one of two ways: registered, or waiting for registration with a bundle."""

    def __init__(self, folder: Path, bundle: RegistrationBundle | None) -> None:
        """`bundle` is the one given at this start, None if none was.

        Raises SecondsiteError when there is no way to begin, or when a file in `folder` is damaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._registration_file = folder / "identity.json"
        self._bundle_file = folder / "bundle.json"
        self._pending_file = folder / "pending-key.pem"
        self._registration = load_registration(self._registration_file)
        self._bundle = self._choose(bundle)
        if self._registration is None and self._bundle is None:
            raise SecondsiteError(
                f"The agent has no certificate in {folder} and was given no registration bundle",
                "Save the Secret NAMESPACE.SITE-registration of the operator's namespace to a file and pass it with "
                f"--bundle. If there is none: {NEW_BUNDLE}",
            )
        self._drop_spent_key()
        if self._bundle is not None:
            # Its fingerprint is printed at the start, so that a person can pin it.
            self._pending_key()

    @property
    def registered(self) -> bool:
        return self._bundle is None

    @property
    def identity(self) -> Identity:
        """What the listener shows: the agent's certificate, or the bundle's until there is one."""
        return self._bundle.identity if self._bundle else self._known.identity

    @property
    def trust(self) -> Trust:
        if self._bundle is None:
            return self._known.trust
        if self._registration is None or self._registration.trust.vault_id != self._bundle.vault_id:
            return self._bundle.trust
        # Registered anew in the same vault: what was revoked stays revoked.
        return self._registration.trust.grown_by(self._bundle.authorities, ())

    @property
    def site(self) -> str:
        return self.identity.peer.name.site

    @property
    def endpoint(self) -> str:
        """`https://HOST[:PORT]` that the VMMSite names."""
        return self._bundle.endpoint if self._bundle else self._known.endpoint

    @property
    def key_fingerprint(self) -> str:
        """Of the key that is registered, or that asks to be."""
        if self._bundle is None:
            return self.identity.peer.key_fingerprint
        return fingerprint(key_from_pem(self._pending_key()).public_key())

    def warning(self, now: datetime) -> str:
        """What a person should know at the start; empty where nothing is amiss. Only the operator judges expiry."""
        if self._bundle is not None and self._bundle.expired(now):
            expiry = self._bundle.expiry_time
            return f"By this clock the registration bundle expired at {expiry:%Y-%m-%dT%H:%M:%SZ}. {NEW_BUNDLE}"
        if self._bundle is None and now > self.identity.peer.not_after:
            expiry = self.identity.peer.not_after
            return (
                f"By this clock the agent's certificate expired at {expiry:%Y-%m-%dT%H:%M:%SZ}. The operator renews it "
                f"if that is not long ago; otherwise: {NEW_BUNDLE}"
            )
        return ""

    def request(self, asked: IdentityRequest) -> str:
        """A certificate request (PEM) for a key that is on the disk; the same key until its certificate comes."""
        _own(asked.subject)
        name = self.identity.peer.name
        if (asked.vault_id, asked.site) != (name.vault, name.site):
            raise Refusal(
                Code.WRONG_BUNDLE,
                f"Asked for site {asked.site} of vault {asked.vault_id}; this agent was given the bundle of site "
                f"{name.site} of vault {name.vault}",
                remedy=NEW_BUNDLE,
            )
        return make_request(key_from_pem(self._pending_key()))

    def install(self, offered: CertificateInstall) -> None:
        """Make the certificate the agent's own. Installing it again is no error. Raises Refusal (KeyMismatch)."""
        _own(offered.subject)
        _check_authorities(offered.authorities)
        if self.registered and offered.certificate == self._known.certificate:
            return
        if not self._pending_file.exists():
            raise Refusal(Code.KEY_MISMATCH, "No certificate was asked for", remedy=_ASK_AGAIN)
        trust = self.trust.grown_by(offered.authorities, ())
        name = Name(trust.vault_id, Role.AGENT, self.site)
        key = self._pending_key()
        try:
            check_issued(offered.certificate, key, trust, name)
        except SecondsiteError as error:
            raise Refusal(Code.KEY_MISMATCH, error.what, remedy=_ASK_AGAIN) from None
        self._save(self._registration_with(offered.certificate, key, trust))
        remove_durably(self._pending_file)
        remove_durably(self._bundle_file)
        self._bundle = None

    def update_trust(self, update: TrustUpdate) -> None:
        """Trust these authorities as well, and these serials no more. Raises Refusal."""
        _check_authorities(update.authorities)
        try:
            revoked = [serial_from_text(serial) for serial in update.revoked]
            trust = self.trust.grown_by(update.authorities, revoked)
        except ValueError as error:
            raise Refusal(Code.INVALID_REQUEST, f"revoked: {error}") from None
        if not self.registered:
            raise Refusal(Code.NOT_REGISTERED, "The agent has no certificate yet; its trust comes with it")
        texts = tuple(map(serial_to_text, sorted(trust.revoked)))
        self._save(self._known.model_copy(update={"authorities": trust.authorities, "revoked": texts}))

    def _registration_with(self, certificate: str, key: str, trust: Trust) -> Registration:
        used = self._registration.used_bundles if self._registration else ()
        return Registration(
            certificate=certificate,
            key=key,
            authorities=trust.authorities,
            revoked=tuple(map(serial_to_text, sorted(trust.revoked))),
            endpoint=self.endpoint,
            used_bundles=(*used, self._bundle.serial) if self._bundle else used,
        )

    @property
    def _known(self) -> Registration:
        if self._registration is None:
            raise SecondsiteError("The agent is not registered")
        return self._registration

    def _choose(self, given: RegistrationBundle | None) -> RegistrationBundle | None:
        """The bundle to register with, None where the certificate serves."""
        kept = load_bundle(self._bundle_file)
        used = self._registration.used_bundles if self._registration else ()
        if given is not None and given.serial not in used:
            if kept is None or kept.serial != given.serial:
                remove_durably(self._pending_file)
                write_durably(self._bundle_file, given.to_json())
            return given
        if kept is not None and kept.serial not in used:
            return kept
        if kept is not None:
            # The agent died between taking its certificate and this.
            remove_durably(self._bundle_file)
        if given is not None:
            _log.info("the registration bundle is spent already, the agent's certificate serves", serial=given.serial)
        return None

    def _drop_spent_key(self) -> None:
        if self._registration is None or not self._pending_file.exists():
            return
        pending = fingerprint(key_from_pem(self._pending_file.read_text(encoding="ascii")).public_key())
        if pending == self._registration.identity.peer.key_fingerprint:
            remove_durably(self._pending_file)

    def _pending_key(self) -> str:
        if self._pending_file.exists():
            return self._pending_file.read_text(encoding="ascii")
        key = key_to_pem(new_key())
        write_durably(self._pending_file, key)
        return key

    def _save(self, registration: Registration) -> None:
        write_durably(self._registration_file, registration.model_dump_json(indent=2) + "\n")
        self._registration = registration


def _check_authorities(authorities: list[str]) -> None:
    """What cannot be read would keep every later context from being made."""
    for place, pem in enumerate(authorities):
        try:
            load_chain(pem)
        except SecondsiteError as error:
            raise Refusal(Code.INVALID_REQUEST, f"authorities.{place}: {error.what}") from None


def _own(subject: str) -> None:
    if subject != "agent":
        raise Refusal(Code.NOT_IMPLEMENTED, f"This agent has no certificates for {subject}, only its own")
