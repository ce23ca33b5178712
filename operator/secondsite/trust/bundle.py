"""The registration bundle: what a person carries from the cluster to a site, once."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from secondsite.errors import SecondsiteError
from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.certificates import leads_to, load_chain, serial_from_text, serial_to_text
from secondsite.trust.identity import Identity, Trust
from secondsite.trust.keys import key_to_pem, new_key
from secondsite.trust.names import Name, Role

_NEW_BUNDLE = "Ask for a new bundle: set spec.requests.issueRegistration of the VMMSite to a new value."
# The longest bundle with a list of authorities; anything larger is another file given by mistake.
_LONGEST_BYTES = 1 << 20


class BundleError(SecondsiteError):
    """The file is not a bundle that an agent can start with; the text says why and what to do."""


class RegistrationBundle(BaseModel):
    """One-time identity of an agent that is not registered yet, and whom it shall believe.

    The document is JSON with the names below in camel case. It holds a private key: keep it like a password. It is
    good for one registration of this VMMSite object at this endpoint, until `expiry_time`, which the operator's clock
    judges; `serial` is hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    kind: Literal["RegistrationBundle"] = "RegistrationBundle"
    version: Literal["v1"] = "v1"
    vault_id: Annotated[str, Field(alias="vaultID")]
    namespace: str
    site: str
    site_uid: Annotated[str, Field(alias="siteUID")]
    endpoint: str
    authorities: Annotated[tuple[str, ...], Field(min_length=1)]
    certificate: str
    key: Annotated[str, Field(repr=False)]
    serial: str
    expiry_time: AwareDatetime

    @classmethod
    def parse(cls, document: str | bytes) -> RegistrationBundle:
        """Read a bundle and check that its parts belong together; its expiry is not judged.

        Raises BundleError.
        """
        if len(document) > _LONGEST_BYTES:
            raise BundleError("The file is far too long for a registration bundle", _NEW_BUNDLE)
        try:
            bundle = cls.model_validate(json.loads(document))
        except ValidationError as error:
            raise BundleError(f"The file is no registration bundle: {_first(error)}", _NEW_BUNDLE) from None
        except ValueError:
            raise BundleError("The file is no registration bundle: it is not JSON", _NEW_BUNDLE) from None
        _check_parts(bundle)
        return bundle

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @property
    def name(self) -> Name:
        """The name in the bootstrap certificate."""
        return Name(self.vault_id, Role.BOOTSTRAP, self.site, self.site_uid)

    @property
    def serial_number(self) -> int:
        return serial_from_text(self.serial)

    @property
    def identity(self) -> Identity:
        """What the agent shows until it is registered."""
        return Identity.load(self.certificate, self.key)

    @property
    def trust(self) -> Trust:
        return Trust(self.vault_id, self.authorities)

    def expired(self, now: datetime) -> bool:
        """By the clock that gave `now` (UTC). An agent may warn; only the operator refuses."""
        return now >= self.expiry_time


def issue_bundle(
    authority: CertificateAuthority,
    *,
    trust: Trust,
    namespace: str,
    site: str,
    site_uid: str,
    endpoint: str,
    now: datetime,
    expiry_time: datetime,
) -> RegistrationBundle:
    """A new bundle with a fresh key for the VMMSite `namespace/site`; `endpoint` is `https://HOST[:PORT]`.

    Nothing remembers it: record `serial` as outstanding before you hand it out. Raises SecondsiteError.
    """
    key, host = new_key(), endpoint_host(endpoint)
    name = Name(authority.vault_id, Role.BOOTSTRAP, site, site_uid)
    certificate = authority.issue(name, key.public_key(), now, expiry_time - now, (host,))
    identity = Identity.load(certificate, key_to_pem(key))
    return RegistrationBundle(
        vault_id=authority.vault_id,
        namespace=namespace,
        site=site,
        site_uid=site_uid,
        endpoint=endpoint,
        authorities=trust.authorities,
        certificate=identity.certificate_pem,
        key=identity.key_pem,
        serial=serial_to_text(identity.peer.serial),
        expiry_time=identity.peer.not_after,
    )


def endpoint_host(endpoint: str) -> str:
    """The host of `https://HOST[:PORT]` as a certificate spells it: an IPv6 address is short and without brackets.

    Raises SecondsiteError.
    """
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname if parts.scheme == "https" else None
    except ValueError:
        host = None
    if not host:
        raise SecondsiteError(f"The endpoint {endpoint!r} is not https://HOST or https://HOST:PORT")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host


def _check_parts(bundle: RegistrationBundle) -> None:
    try:
        peer, chain = bundle.identity.peer, load_chain(bundle.certificate)
        trusted = leads_to(chain, [load_chain(pem)[0] for pem in bundle.authorities])
        fits = peer.name == bundle.name and peer.serial == bundle.serial_number
    except (SecondsiteError, ValueError) as error:
        raise BundleError(f"The registration bundle is damaged: {error}", _NEW_BUNDLE) from None
    if not fits:
        raise BundleError(
            f"The registration bundle for site {bundle.site} holds the certificate of the {peer.name}, "
            f"serial {serial_to_text(peer.serial)}",
            _NEW_BUNDLE,
        )
    if not trusted:
        raise BundleError("The bundle's certificate is not signed by one of its authorities", _NEW_BUNDLE)


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
