"""What the agent's identity folder holds, and how it is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import BundleError, RegistrationBundle
from secondsite.trust.certificates import serial_from_text
from secondsite.trust.identity import Identity, Trust

NEW_BUNDLE = (
    "Set spec.requests.issueRegistration of the VMMSite to a new value and start the agent with the new bundle."
)


class Registration(BaseModel):
    """A registered agent's identity and trust: one file, replaced whole, so that its parts always fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: str
    key: str = Field(repr=False)
    authorities: tuple[str, ...]
    revoked: tuple[str, ...] = ()
    endpoint: str
    used_bundles: tuple[str, ...] = ()
    """Serials of every bundle that this data folder was registered with: they are spent."""

    @property
    def identity(self) -> Identity:
        return Identity.load(self.certificate, self.key)

    @property
    def trust(self) -> Trust:
        vault = self.identity.peer.name.vault
        return Trust(vault, self.authorities, frozenset(map(serial_from_text, self.revoked)))


def load_registration(file: Path) -> Registration | None:
    if not file.exists():
        return None
    try:
        registration = Registration.model_validate_json(file.read_bytes())
        _ = registration.identity, registration.trust
    except (ValidationError, ValueError, SecondsiteError) as error:
        raise SecondsiteError(f"{file} is damaged ({type(error).__name__})", f"Move it away. {NEW_BUNDLE}") from None
    return registration


def load_bundle(file: Path) -> RegistrationBundle | None:
    if not file.exists():
        return None
    try:
        return RegistrationBundle.parse(file.read_bytes())
    except BundleError as error:
        raise SecondsiteError(f"{file}: {error.what}", f"Move it away. {error.remedy}") from None
