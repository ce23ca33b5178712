"""Who may talk to the sandbox's API server: static tokens, kubeconfig files, the key of service accounts."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

NAME = "secondsite-sandbox"


@dataclass(frozen=True)
class Identity:
    """A user of the API server; the server adds `system:authenticated` to the groups itself."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @classmethod
    def of_service_account(cls, namespace: str, name: str) -> Identity:
        """What a token of this service account would say."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return cls(service_account(namespace, name), groups)


def service_account(namespace: str, name: str) -> str:
    """The user name under which Kubernetes knows a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def identities(users: Mapping[str, Sequence[str]], service_accounts: Iterable[tuple[str, str]]) -> dict[str, Identity]:
    """All who will be known to the API server, by user name."""
    people = [Identity(name, tuple(groups)) for name, groups in users.items()]
    programs = [Identity.of_service_account(namespace, name) for namespace, name in service_accounts]
    return {identity.name: identity for identity in (*people, *programs)}


def token_file(known: Iterable[Identity]) -> str:
    """The content of the API server's `--token-auth-file`: token, user, uid, groups."""
    text = io.StringIO()
    writer = csv.writer(text)
    for who in known:
        writer.writerow([who.token, who.name, who.name, ",".join(who.groups)])
    return text.getvalue()


def service_account_key() -> str:
    """A fresh RSA key in PEM, with which the API server signs and verifies service account tokens."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def kubeconfig(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> str:
    """A kubeconfig with one cluster, one user and one context."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": dict(cluster)}],
            "users": [{"name": NAME, "user": dict(user)}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "current-context": NAME,
        },
        sort_keys=False,
    )


def file_name(user: str) -> str:
    """A user's name as the name of a file."""
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in user)


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, from its first moment on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - Path.open takes no mode of the new file
        file.write(text)
    return path
