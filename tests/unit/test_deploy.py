"""deploy/: what fits together only because somebody keeps it so."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from secondsite import __version__
from secondsite.api.kinds import ALL_KINDS
from secondsite.cli.install import install, render
from secondsite.cli.operator import run
from secondsite.controller import probes
from secondsite.errors import SecondsiteError
from secondsite.sandbox import assets

ROOT = Path(__file__).parents[2]
DOCUMENTS = assets.load(assets.INSTALL)


def operator() -> dict[str, object]:
    pod = assets.named(DOCUMENTS, "Deployment")["secondsite-operator"]["spec"]["template"]
    container: dict[str, object] = pod["spec"]["containers"][0]
    return container


def test_the_one_file_is_what_the_base_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert CliRunner().invoke(install, ["--check"]).exit_code == 0
    (tmp_path / "base").symlink_to(ROOT / "deploy" / "base")
    (tmp_path / "install.yaml").write_text("old")
    stale = CliRunner().invoke(install, ["--check", "--dir", str(tmp_path)])
    assert stale.exit_code == 1
    assert "make deploy" in stale.output
    assert CliRunner().invoke(install, ["--write", "--dir", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(install, ["--check", "--dir", str(tmp_path)]).exit_code == 0


def test_what_the_renderer_does_not_understand_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nresources: []\npatches: []\n")
    with pytest.raises(SecondsiteError, match="patches"):
        render(tmp_path)


def test_every_kind_is_installed_and_known_to_every_role() -> None:
    assert set(assets.named(DOCUMENTS, "CustomResourceDefinition")) == {kind.crd_name for kind in ALL_KINDS}
    roles = assets.named(DOCUMENTS, "ClusterRole")
    plurals = {kind.plural for kind in ALL_KINDS}
    for role in ("secondsite-operator", "secondsite-view", "secondsite-edit"):
        known = {resource for rule in roles[role]["rules"] for resource in rule["resources"] if "/" not in resource}
        assert plurals <= known, role


def test_no_role_has_a_wildcard_and_only_one_creates_test_failovers() -> None:
    creators = set()
    for kind in ("ClusterRole", "Role"):
        for name, role in assets.named(DOCUMENTS, kind).items():
            for rule in role["rules"]:
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], name
                if "testfailovers" in rule["resources"] and "create" in rule["verbs"]:
                    creators.add(name)
    assert creators == {"secondsite-recovery-testfailovers"}


def test_the_container_starts_with_flags_that_there_are() -> None:
    arguments = operator()["args"]
    assert isinstance(arguments, list)
    assert arguments[:2] == ["operator", "run"]
    with click.Context(run) as context:
        run.parse_args(context, arguments[2:])
    assert context.params["metrics_port"] == 8080


def test_probes_service_and_image_name_what_there_is() -> None:
    container = operator()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}  # type: ignore[attr-defined]
    assert ports == {"metrics": 8080}
    source = Path(probes.__file__).read_text()
    for probe in ("livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]  # type: ignore[index]
        assert f'"{path}"' in source
        assert container[probe]["httpGet"]["port"] in ports  # type: ignore[index]
    service = assets.named(DOCUMENTS, "Service")["secondsite-operator-metrics"]["spec"]
    labels = assets.named(DOCUMENTS, "Deployment")["secondsite-operator"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] in ports
    assert container["image"] == f"secondsite-operator:{__version__}"
