"""The one name in every certificate of a vault: a URI that says which vault, in which role, for which site."""

from __future__ import annotations

import enum
import re
import secrets
from dataclasses import dataclass

# A VMMSite's name can never be this, so an operator cannot be taken for a site.
_NO_SITE = "-"

_LABEL = r"[a-z0-9](?:[-.a-z0-9]{0,61}[a-z0-9])?"
_URI = re.compile(
    rf"secondsite://(?P<vault>{_LABEL})/(?:(?P<person>operator|reader)/-"
    rf"|(?P<agent>agent)/(?P<site>{_LABEL})"
    rf"|(?P<bootstrap>bootstrap)/(?P<newcomer>{_LABEL})/(?P<uid>{_LABEL}))",
)


class Role(enum.StrEnum):
    """What the holder of a certificate may be to others."""

    OPERATOR = "operator"
    READER = "reader"
    AGENT = "agent"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Name:
    """Who a certificate speaks for.

    `vault` is the vault's random id; `site` the VMMSite's name, unique within a vault, and empty for operator and
    reader, which act for the whole vault (their URI says `-` there); `uid` the VMMSite's uid, in a bootstrap
    certificate only, so that a bundle dies with the object it was made for.
    """

    vault: str
    role: Role
    site: str = ""
    uid: str = ""

    def __post_init__(self) -> None:
        if not _URI.fullmatch(self.uri):
            raise ValueError(f"not a name of a vault: {self.uri!r}")

    @property
    def uri(self) -> str:
        """`secondsite://VAULT/ROLE/SITE`, with `/UID` after it in a bootstrap certificate."""
        return "/".join(filter(None, (f"secondsite://{self.vault}", self.role, self.site or _NO_SITE, self.uid)))

    def __str__(self) -> str:
        return f"{self.role} of site {self.site}" if self.site else f"{self.role} of vault {self.vault}"

    @classmethod
    def parse(cls, uri: str) -> Name:
        """Read a URI, matched whole. Raises ValueError for anything else."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise ValueError(f"not a name of a vault: {uri!r}")
        part = found.groupdict(default="")
        role = Role(part["person"] or part["agent"] or part["bootstrap"])
        return cls(part["vault"], role, part["site"] or part["newcomer"], part["uid"])


def new_vault_id() -> str:
    """A random id; it is kept with the authority's key, because a Kubernetes uid changes when objects are restored."""
    return secrets.token_hex(10)
