"""Starts what dies of a control plane again, so that whoever kills a part of it can watch the rest recover."""

from __future__ import annotations

import threading

from secondsite import logs
from secondsite.errors import SecondsiteError
from secondsite.sandbox.control_plane import ControlPlane

_LOOK_SECONDS = 0.5
_log = logs.get(__name__)


class Keeper:
    """Looks after one control plane until it is stopped. Stop it before the control plane."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep control plane", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing will be started any more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._control_plane.revive()
            except SecondsiteError as error:
                _log.warning("control_plane_not_revived", error=str(error))
