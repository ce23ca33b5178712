"""Fixtures: a real control plane for the session, and in it a namespace for each test."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.sandbox.build import build
from secondsite.sandbox.cluster import install_crds
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from secondsite.sandbox.steps import Display

ROOT = Path(__file__).parents[2]
OPERATOR = ("secondsite-system", "secondsite-operator")
USERS = {"alice": ["recovery-team"], "bob": ["developers"]}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build here, where no test's timeout runs: the first time takes minutes."""
    if any("binary" in getattr(item, "fixturenames", ()) for item in session.items):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            display = Display(sys.stderr)
            build(display)
            display.close()


@pytest.fixture(scope="session")
def binary() -> Path:
    """The control plane's binary."""
    return build()


@pytest.fixture(scope="session")
def control_plane(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without CRDs. Do not stop, kill or restart it: it serves the whole session."""
    directory = tmp_path_factory.mktemp("control-plane") / "it"
    with ControlPlane(directory, binary, users=USERS, service_accounts=[OPERATOR]) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The same control plane with the CRDs of crds/."""
    folder = ROOT / "crds"
    assert any(folder.glob("*.yaml")), "crds/ is empty: run `make crds` first"
    install_crds(control_plane.kubectl, folder)
    return control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace; at the end its deletion is begun, not waited for."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    """Calls kubectl as the administrator, in this test's namespace."""
    return control_plane.kubectl.within(namespace)
