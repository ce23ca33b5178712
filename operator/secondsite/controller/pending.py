"""Commands whose effect the mirror does not show yet: until it does, nobody plans for that object or that VM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from secondsite.controller.ports import Key, Receipt

PATIENCE = 30.0
"""Seconds after which a turn goes on without having seen the effect: every verb may be repeated."""

Machine = tuple[str, str]
"""Namespace and VM id: both halves of a relation bear the same id."""


@dataclass(frozen=True, slots=True)
class Grip:
    """One command under way: whose, at which VM (None: none), and what to do when its effect is seen."""

    key: Key
    machine: Machine | None
    release: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Sent:
    grip: Grip
    receipt: Receipt
    since: float


@dataclass(slots=True)
class Pending:
    """Who holds which VM, and which receipts are open. `reached` asks the mirror."""

    reached: Callable[[str, Receipt], bool]
    _holders: dict[Machine, list[Key]] = field(default_factory=lambda: defaultdict(list))
    _waiters: dict[Machine, set[Key]] = field(default_factory=lambda: defaultdict(set))
    _sent: dict[Key, list[_Sent]] = field(default_factory=lambda: defaultdict(list))

    def grip(self, key: Key, machine: Machine | None) -> bool:
        """Take the VM for one command. False: another object has it; the key is named by `settle` once it is free."""
        if machine is None:
            return True
        holders = self._holders[machine]
        if any(holder != key for holder in holders):
            self._waiters[machine].add(key)
            return False
        holders.append(key)
        return True

    def sent(self, grip: Grip, receipt: Receipt, now: float) -> None:
        """The command was accepted: hold on until the mirror shows its effect."""
        self._sent[grip.key].append(_Sent(grip, receipt, now))

    def let_go(self, grip: Grip) -> set[Key]:
        """Nothing more to wait for; returns who waited for the VM."""
        grip.release()
        if grip.machine is None:
            return set()
        holders = self._holders[grip.machine]
        holders.remove(grip.key)
        if holders:
            return set()
        del self._holders[grip.machine]
        return self._waiters.pop(grip.machine, set())

    def blocked(self, key: Key) -> bool:
        """Whether the mirror still lacks the effect of a command of this key."""
        return key in self._sent

    def __bool__(self) -> bool:
        return bool(self._sent)

    def settle(self, now: float) -> set[Key]:
        """Let go of what the mirror shows by now, or should long have; returns the keys that may go on."""
        free: set[Key] = set()
        for key, sent in list(self._sent.items()):
            for one in [one for one in sent if self._over(key, one, now)]:
                sent.remove(one)
                free |= self.let_go(one.grip)
            if not sent:
                del self._sent[key]
                free.add(key)
        return free

    def _over(self, key: Key, one: _Sent, now: float) -> bool:
        return now - one.since > PATIENCE or self.reached(key.namespace, one.receipt)
