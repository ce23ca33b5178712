"""The kubectl that is always there: a subcommand of the control plane's own binary."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secondsite.errors import SecondsiteError

_TIMEOUT_SECONDS = 120.0


class KubectlError(SecondsiteError):
    """A kubectl call ended with an error; `stderr` is what it said."""

    def __init__(self, command: str, stderr: str) -> None:
        super().__init__(f"`{command}` failed: {stderr.strip()}")
        self.stderr = stderr


@dataclass(frozen=True)
class Kubectl:
    """Calls kubectl with one kubeconfig, and optionally in one namespace.

    `cache` is its discovery cache: kubectl keys that by host and port, which another control plane may reuse.
    """

    binary: Path
    kubeconfig: Path | None
    cache: Path
    namespace: str | None = None

    def __call__(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = _TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `kubectl ARGUMENTS…`, with `stdin` for `-f -`.

        Raises KubectlError if it fails and `check` is set, subprocess.TimeoutExpired after `timeout` seconds.
        """
        done = subprocess.run(
            self.command(*arguments),
            input=stdin if stdin is not None else "",
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            raise KubectlError(f"kubectl {shlex.join(arguments)}", done.stderr or done.stdout)
        return done

    def json(self, *arguments: str) -> Any:
        """What `kubectl ARGUMENTS… -o json` prints, parsed."""
        return json.loads(self(*arguments, "-o", "json").stdout)

    def apply(self, *manifests: str | Path) -> None:
        """Apply manifests on the server's side: each a file, a folder, or the text itself."""
        for manifest in manifests:
            source, text = (str(manifest), None) if isinstance(manifest, Path) else ("-", manifest)
            self("apply", "--server-side", "--force-conflicts", "-f", source, stdin=text)

    def within(self, namespace: str) -> Kubectl:
        """The same, with `namespace` as the default namespace."""
        return replace(self, namespace=namespace)

    def with_kubeconfig(self, kubeconfig: Path) -> Kubectl:
        """The same as another user."""
        return replace(self, kubeconfig=kubeconfig)

    def command(self, *arguments: str) -> list[str]:
        """The command line, for callers that start a process of their own (with `environment()`)."""
        where = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.binary), "kubectl", *where, *arguments]

    def environment(self) -> dict[str, str]:
        """The environment for `command()`. A person's kubectl preferences (kuberc) must not change what we get."""
        own = {"KUBECACHEDIR": str(self.cache), "KUBERC": "off"}
        if self.kubeconfig:
            own["KUBECONFIG"] = str(self.kubeconfig)
        return {**os.environ, **own}

    def install(self, folder: Path) -> None:
        """Put an executable `kubectl` into `folder`, for the PATH of a person; it prefers that person's KUBECONFIG."""
        folder.mkdir(mode=0o700, exist_ok=True)
        script = folder / "kubectl"
        script.write_text(
            "#!/bin/sh\n"
            f'[ -n "$KUBECONFIG" ] || KUBECONFIG={shlex.quote(str(self.kubeconfig))}\n'
            f"KUBECACHEDIR={shlex.quote(str(self.cache))}\n"
            "export KUBECONFIG KUBECACHEDIR\n"
            f'exec {shlex.quote(str(self.binary))} kubectl "$@"\n'
        )
        script.chmod(0o700)
