"""What must hold of one verb: a refused one changes nothing, a test leaves production alone, a repeated one agrees."""

from __future__ import annotations

from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.state import Half
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab_world import checks
from support.lab_world.commands import message
from support.lab_world.side import Side
from support.lab_world.world import Outcome, World

# Those that end before anything is begun. Others may have got half way, and are repeated.
_CLEAN = frozenset({Code.STATE_CONFLICT, Code.UNSUPPORTED, Code.NOT_FOUND, Code.INVALID_REQUEST, Code.IN_USE})
_TESTS = frozenset({Verb.START_TEST_FAILOVER, Verb.STOP_TEST_FAILOVER})


# Side and state of the half that was asked, right after it; empty: any.
_DONE: dict[Verb, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Verb.ENABLE_REPLICATION: (("Primary",), ("ReadyForInitialReplication",)),
    Verb.START_INITIAL_REPLICATION: (("Primary",), ("InitialReplicationInProgress",)),
    Verb.STOP_INITIAL_REPLICATION: (("Primary",), ("ReadyForInitialReplication",)),
    Verb.SUSPEND: ((), ("Suspended", "ResynchronizeSuspended")),
    Verb.RESUME: ((), ("Replicating", "InitialReplicationInProgress", "Resynchronizing")),
    Verb.RESYNCHRONIZE: (("Primary",), ("Resynchronizing",)),
    Verb.STOP_RESYNCHRONIZE: (("Primary",), ("WaitingForStartResynchronize",)),
    Verb.DISABLE_REPLICATION: (("None",), ("Disabled",)),
    Verb.PREPARE_FAILOVER: (("Primary",), ("PreparedForFailover",)),
    Verb.FAILOVER: (("Replica",), ("FailedOverWaitingCompletion",)),
    Verb.CANCEL_FAILOVER: ((), ("Replicating",)),
    Verb.COMMIT_FAILOVER: (("Replica",), ("FailedOver",)),
    Verb.REVERSE_REPLICATION: (("Primary",), ("Replicating", "ReadyForInitialReplication")),
    Verb.DEMOTE_TO_REPLICA: (("Replica",), ("WaitingForInitialReplication",)),
}


class VerbChecks:
    """Performs verbs and holds them to it."""

    def __init__(self, world: World, ledger: checks.Ledger) -> None:
        self.world = world
        self.ledger = ledger

    def perform(self, side: Side, verb: Verb, told: Message | None = None, *, twice: bool = False) -> Outcome:
        """One verb, with all its checks."""
        before, told = checks.documents(self.world), told or message(verb, side)
        chains = [checks.chain(each) for each in self.world.living]
        if verb is Verb.FAILOVER:
            self._expect_loss_below_pending(side)
        tested = side.half.test_vm if side.half else None
        ran = side.guest is not None and side.guest.running
        outcome = self.world.perform(side, verb, told)
        if outcome is None:
            assert not (ran and verb is Verb.DEMOTE_TO_REPLICA), "a VM was made a replica while it ran"
            self._expect_done(side, verb)
        if verb is Verb.START_TEST_FAILOVER and tested and side.half and side.half.test_vm:
            assert side.half.test_vm.owner == tested.owner, f"the test VM of {tested.owner} was replaced by another"
        if isinstance(outcome, Refusal):
            told_what = outcome.remedy or "works in" in outcome.detail
            assert told_what or outcome.code is not Code.STATE_CONFLICT, f"{verb.value}: {outcome} has no remedy"
            if outcome.code in _CLEAN:
                assert checks.documents(self.world) == before, f"{verb.value} was refused, and changed something"
        assert not isinstance(outcome, EngineError), f"{verb.value} failed without a refusal: {outcome!r}"
        if verb in _TESTS:
            assert [checks.chain(each) for each in self.world.living] == chains, f"{verb.value} changed the chain"
        self.noted(verb, outcome)
        if twice and outcome is None:
            self._repeat(side, verb, told)
        return outcome

    def _expect_done(self, side: Side, verb: Verb) -> None:
        """What a verb says that it has done, it has done."""
        half = side.half
        place = (half.side, half.state) if half else ("None", "Disabled")
        for index, wanted in enumerate(_DONE.get(verb, ())):
            assert not wanted or place[index] in wanted, f"{verb.value} is done, and {side.name} is {place}"
        if verb is Verb.PREPARE_FAILOVER:
            self._expect_nothing_owed(side)

    def _expect_nothing_owed(self, source: Side) -> None:
        """A planned failover loses nothing: the other side has every write before it can begin."""
        target = self.world.other(source)
        store, guest = target.store if target.up else None, source.guest
        if store is not None and store.held.points and guest is not None:
            newest = store.held.points[-1]
            assert newest.image == guest.image, f"{guest.count} writes were made, the replica has {newest.image}"
            assert newest.fact.consistency == "Synced", f"the last point is {newest.fact.consistency}"

    def noted(self, verb: Verb, outcome: Outcome) -> None:
        """What later checks must know of it."""
        if verb is Verb.FAILOVER and not isinstance(outcome, Refusal):
            self.ledger.forced = True

    def _repeat(self, side: Side, verb: Verb, told: Message) -> None:
        """Once more, as after an unknown outcome: it agrees, and all stays as it was."""
        before = [(half.side, half.state) if half else None for half in self._halves()]
        outcome = self.world.perform(side, verb, told, resumed=True)
        after = [(half.side, half.state) if half else None for half in self._halves()]
        assert before == after, f"{verb.value}, repeated, led from {before} to {after}"
        assert outcome is None, f"{verb.value} was done, and is refused when it is repeated: {outcome}"

    def _halves(self) -> list[Half | None]:
        return [side.half for side in self.world.living]

    def _expect_loss_below_pending(self, side: Side) -> None:
        """What a failover to the newest point would lose now is what the source says is pending."""
        source, store = self.world.other(side), side.store
        if store is None or not store.points() or not source.up or source.guest is None:
            return
        half, fact = source.half, source.relation
        if half is None or half.side != "Primary" or fact is None or fact.pending_bytes is None:
            return
        held = store.held.points[-1].image.get(("SCSI-0-0", 0), 0)
        lost = source.guest.count - held
        if lost > 0 and fact.state in ("Replicating", "Suspended"):
            assert fact.pending_bytes > 0, f"{lost} writes would be lost, and nothing is said to be pending"
