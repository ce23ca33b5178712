"""How to reach the API server: from a kubeconfig, or as a pod from its service account."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from secondsite.errors import SecondsiteError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class LoginError(SecondsiteError):
    """There is no usable way to the API server."""


@dataclass(frozen=True, slots=True)
class Login:
    """An API server's address and how to show who we are. Secrets stay out of the repr."""

    server: str
    namespace: str = ""
    """Namespace of the context, or of the pod; empty where none is set."""
    ca: bytes = field(default=b"", repr=False)
    """PEM of the authorities that sign the server's certificate; empty: those of the system."""
    insecure: bool = False
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    def bearer(self) -> str:
        """The token to send now, or nothing. A token file is read each time: kubelet renews it in place."""
        return self.token_file.read_text().strip() if self.token_file else self.token

    def context(self) -> ssl.SSLContext | None:
        """TLS settings for the session; None over plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            _load_chain(context, self.certificate, self.key)
        return context


def find(kubeconfig: Path | None = None, context: str | None = None) -> Login:
    """The login that a person asked for, else that of the pod, else of `$KUBECONFIG` or `~/.kube/config`.

    Raises LoginError.
    """
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return of_pod()
    return of_file(kubeconfig or _default_file(), context)


def of_pod(folder: Path = SERVICE_ACCOUNT) -> Login:
    """The login of a pod's service account. Raises LoginError."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        return Login(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            namespace=(folder / "namespace").read_text().strip(),
            ca=(folder / "ca.crt").read_bytes(),
            token_file=folder / "token",
        )
    except OSError as error:
        raise LoginError(
            f"Read the pod's service account in {folder}: {error}",
            "Set automountServiceAccountToken, or pass --kubeconfig.",
        ) from error


def of_file(path: Path, context: str | None = None) -> Login:
    """The login of one context of a kubeconfig, the current one by default. Raises LoginError."""
    try:
        config = yaml.safe_load(path.read_text())
        name = context or config.get("current-context") or ""
        chosen = _named(config, "context", name)
        return _login(
            _named(config, "cluster", chosen["cluster"]),
            _named(config, "user", chosen["user"]),
            chosen.get("namespace", ""),
            path.parent,
        )
    except LoginError:
        raise
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise LoginError(
            f"Read the kubeconfig {path}: {type(error).__name__}: {error}",
            "Pass --kubeconfig FILE, and --context NAME if it has no current context.",
        ) from error


def _login(cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str, folder: Path) -> Login:
    if "exec" in user or "auth-provider" in user:
        raise LoginError(
            "Log in with a credential plugin of the kubeconfig: not supported",
            "Use a context with a token or a client certificate, such as that of a service account.",
        )
    token_file = user.get("tokenFile")
    return Login(
        server=str(cluster["server"]).rstrip("/"),
        namespace=namespace,
        ca=_material(cluster, "certificate-authority", folder),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        token=user.get("token", ""),
        token_file=folder / token_file if token_file else None,
        certificate=_material(user, "client-certificate", folder),
        key=_material(user, "client-key", folder),
    )


def _named(config: Mapping[str, Any], what: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(f"{what}s") or ():
        if entry["name"] == name:
            found: Mapping[str, Any] = entry[what]
            return found
    raise KeyError(f"it has no {what} {name!r}")


def _material(entry: Mapping[str, Any], name: str, folder: Path) -> bytes:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return (folder / entry[name]).read_bytes() if name in entry else b""


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module takes a client's key from a file only; it is gone before anything else runs.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def _default_file() -> Path:
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"
