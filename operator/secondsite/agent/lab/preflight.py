"""What a lab site checks of itself: data-centre file, space, data port."""

from __future__ import annotations

import os

from secondsite.agent.lab.associations import Associations
from secondsite.agent.lab.datacentre import load
from secondsite.agent.lab.estate import Estate
from secondsite.errors import SecondsiteError
from secondsite.wire.agent import Check, Verdict

_ENOUGH_BYTES = 1 << 30


class Preflight:
    """Answers `GET /v1/checks`."""

    def __init__(self, estate: Estate, associations: Associations) -> None:
        self._estate = estate
        self._associations = associations

    def all(self) -> list[Check]:
        """Every check, with a remedy for what fails."""
        return [self._file(), self._space(), self._port()]

    def _file(self) -> Check:
        try:
            load(self._estate.path)
        except SecondsiteError as error:
            return Check(
                check="InventoryReadable",
                verdict=Verdict.FAILED,
                message=str(error),
                remedy="Correct the file; the last good one is served.",
            )
        return Check(check="InventoryReadable", verdict=Verdict.PASSED, message=f"Read from {self._estate.path.name}")

    def _space(self) -> Check:
        state = os.statvfs(self._estate.context.data)
        free = state.f_bavail * state.f_frsize
        return Check(
            check="StorageSpace",
            verdict=Verdict.PASSED if free >= _ENOUGH_BYTES else Verdict.FAILED,
            message=f"{free} bytes are free where the lab keeps its disks",
            remedy="" if free >= _ENOUGH_BYTES else f"Free at least {_ENOUGH_BYTES} bytes there.",
        )

    def _port(self) -> Check:
        needed = any(item.role == "Target" for item in self._associations.all().values())
        if needed and not self._associations.listening:
            return Check(
                check="DataPort",
                verdict=Verdict.FAILED,
                message="An association needs the data port, and it is not open",
                remedy="See the agent's log for what holds the port, and free it.",
            )
        text = "The data port is open" if needed else "No association needs the data port"
        return Check(check="DataPort", verdict=Verdict.PASSED, message=text)
