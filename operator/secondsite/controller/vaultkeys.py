"""What the operator keeps of a vault in one Secret of its own namespace: authorities, revocations, registrations."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from secondsite.errors import SecondsiteError
from secondsite.plan.observed import Registration
from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.certificates import serial_from_text, serial_to_text
from secondsite.trust.identity import Trust
from secondsite.trust.names import new_vault_id

LABELS = {"app.kubernetes.io/managed-by": "secondsite-operator"}


@dataclass(frozen=True)
class VaultKeys:
    """The vault's memory. `vault_id` is random and kept here: a vault object that is re-created takes it up again.

    `authorities` is oldest first; the last one signs. A registration that is not recorded here does not exist.
    """

    vault_id: str
    authorities: tuple[CertificateAuthority, ...]
    revoked: frozenset[int] = frozenset()
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    version: str = ""
    """resourceVersion of the Secret that this was read from."""

    @classmethod
    def create(cls, now: datetime) -> VaultKeys:
        vault_id = new_vault_id()
        return cls(vault_id, (CertificateAuthority.create(vault_id, now),))

    @property
    def signer(self) -> CertificateAuthority:
        return self.authorities[-1]

    @property
    def trust(self) -> Trust:
        return Trust(self.vault_id, tuple(a.certificate_pem for a in self.authorities), self.revoked)

    def with_registration(self, site: str, registration: Registration | None) -> VaultKeys:
        others = {name: kept for name, kept in self.registrations.items() if name != site}
        return replace(self, registrations=others if registration is None else {**others, site: registration})


def secret_name(namespace: str, vault: str) -> str:
    """The Secret of a vault; a namespace has no dots, so two vaults never share a name."""
    return f"{namespace}.{vault}-authority"


def bundle_secret_name(namespace: str, site: str) -> str:
    """The Secret with the registration bundle of a VMMSite."""
    return f"{namespace}.{site}-registration"


def to_secret(name: str, keys: VaultKeys) -> dict[str, Any]:
    """The Secret as the API server takes it; with a resourceVersion it is refused when another wrote meanwhile."""
    document = {
        "vaultID": keys.vault_id,
        "authorities": [{"certificate": a.certificate_pem, "key": a.key_pem} for a in keys.authorities],
        "revoked": [serial_to_text(serial) for serial in sorted(keys.revoked)],
        "registrations": {site: _registration_to_json(kept) for site, kept in keys.registrations.items()},
    }
    metadata: dict[str, Any] = {"name": name, "labels": LABELS}
    if keys.version:
        metadata["resourceVersion"] = keys.version
    return {
        "type": "secondsite.dev/vault",
        "metadata": metadata,
        "data": {"vault.json": base64.b64encode(json.dumps(document).encode()).decode()},
    }


def from_secret(body: Mapping[str, Any]) -> VaultKeys:
    """Raises SecondsiteError when the Secret is not one of ours or is damaged."""
    name = body["metadata"]["name"]
    try:
        document = json.loads(base64.b64decode(body["data"]["vault.json"]))
        vault_id = document["vaultID"]
        return VaultKeys(
            vault_id=vault_id,
            authorities=tuple(
                CertificateAuthority.load(vault_id, a["certificate"], a["key"]) for a in document["authorities"]
            ),
            revoked=frozenset(serial_from_text(text) for text in document.get("revoked", ())),
            registrations={
                site: _registration_from_json(kept) for site, kept in document.get("registrations", {}).items()
            },
            version=body["metadata"]["resourceVersion"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise SecondsiteError(
            f"The Secret {name} with the vault's keys cannot be read: {type(error).__name__}: {error}",
            "Restore it from a copy; without it no site of this vault can be reached.",
        ) from error


def _registration_to_json(kept: Registration) -> dict[str, str]:
    return {
        "serial": kept.serial,
        "expiryTime": kept.expiry.astimezone(UTC).isoformat(),
        "siteUID": kept.site_uid,
        "endpoint": kept.endpoint,
        "token": kept.token,
        "boundKey": kept.bound_key,
    }


def _registration_from_json(document: Mapping[str, str]) -> Registration:
    return Registration(
        serial=document["serial"],
        expiry=datetime.fromisoformat(document["expiryTime"]),
        site_uid=document["siteUID"],
        endpoint=document["endpoint"],
        token=document["token"],
        bound_key=document["boundKey"],
    )
