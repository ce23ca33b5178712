"""What each verb is told in the world of tests: whatever a person or an operator could sensibly ask for."""

from __future__ import annotations

from datetime import timedelta

from secondsite.wire import arguments
from secondsite.wire.arguments import Endpoint, Slot
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from support.lab_world.side import Side, folder
from support.lab_world.world import OWNER, PORTS, SETTINGS, association

DISKS = [Slot(controller_type="SCSI", controller_number=0, controller_location=index) for index in range(2)]
TESTS = ("drill-1", "drill-2")


def message(verb: Verb, side: Side) -> Message:
    """The arguments of a verb asked of a side."""
    peer = {"east": "west", "west": "east"}[side.name]
    endpoint = Endpoint(host=f"hv1.{peer}", address="127.0.0.1", port=PORTS[peer])
    sending, taking = association(side.name, "Source"), association(side.name, "Target")
    # Whoever asks for a second test is another than who has one; who cleans up is mostly the right one.
    standing = side.half.test_vm.owner if side.half and side.half.test_vm else ""
    owner = TESTS[1] if standing == TESTS[0] and verb is Verb.START_TEST_FAILOVER else standing or TESTS[0]
    made: dict[Verb, Message] = {
        Verb.PREPARE_REPLICA: arguments.PrepareReplica(vm_name="web", association=taking, peer_site=peer, owner=OWNER),
        Verb.ENABLE_REPLICATION: arguments.EnableReplication(
            association=sending, peer_site=peer, owner=OWNER, endpoint=endpoint, settings=SETTINGS, disks=DISKS
        ),
        Verb.CONFIGURE_REPLICA: arguments.ConfigureReplica(settings=SETTINGS),
        Verb.START_INITIAL_REPLICATION: arguments.StartInitialReplication(),
        Verb.EXPORT_INITIAL_REPLICATION: arguments.Media(path=str(folder() / "media")),
        Verb.IMPORT_INITIAL_REPLICATION: arguments.Media(path=str(folder() / "media")),
        Verb.UPDATE_SETTINGS: arguments.UpdateSettings(settings=SETTINGS),
        Verb.RESYNCHRONIZE: arguments.Resynchronize(),
        Verb.DISABLE_REPLICATION: arguments.Removal(),
        Verb.START_TEST_FAILOVER: arguments.StartTestFailover(owner=owner),
        Verb.CHECK_TEST_VM: arguments.CheckTestVM(owner=owner, name="up", type="Heartbeat"),
        Verb.STOP_TEST_FAILOVER: arguments.StopTestFailover(owner=owner),
        Verb.FAILOVER: arguments.Failover(),
        Verb.REVERSE_REPLICATION: arguments.ReverseReplication(
            association=sending, peer_site=peer, endpoint=endpoint, settings=SETTINGS
        ),
        Verb.DEMOTE_TO_REPLICA: arguments.DemoteToReplica(association=taking, peer_site=peer),
    }
    return made.get(verb, arguments.Nothing())


def later(side: Side, hours: float) -> Message:
    """StartInitialReplication at a time."""
    return arguments.StartInitialReplication(start_time=side.now() + timedelta(hours=hours))
