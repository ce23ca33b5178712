"""Everything about the faults of one site in one place: the switch, the schedule, and what ends or begins by itself."""

from __future__ import annotations

from secondsite import logs
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_answers import FaultAnswers
from secondsite.agent.lab.fault_schedule import Schedule, Step, planned
from secondsite.agent.lab.fault_switch import KEY, FaultSwitch
from secondsite.agent.lab.report import Reporter
from secondsite.errors import SecondsiteError
from secondsite.wire.problems import Refusal

_log = logs.get(__name__)


class FaultDesk:
    """A work of the site's rounds: ends the faults that are over, begins those that are due."""

    group = ""

    def __init__(self, estate: Estate, reporter: Reporter) -> None:
        self._estate = estate
        self.schedule = Schedule(estate.documents, estate.faults.true_now)
        self.switch = FaultSwitch(estate, reporter)
        self.answers = FaultAnswers(estate, reporter, self.switch, self.schedule)

    def start(self) -> None:
        """Take up what was on, and what was planned."""
        self.switch.start()
        self.schedule.plan_once(planned(self._estate.centre))
        self._estate.rounds.add(KEY, self)

    def stop(self) -> None:
        """What is on or planned waits for the next start."""
        self._estate.rounds.remove(KEY)
        self.switch.stop()

    def pause(self) -> float | None:
        """Seconds until something ends or begins; None: nothing does."""
        pauses = [self._estate.faults.seconds_to_next_end(), self.schedule.seconds_to_next()]
        return min((pause for pause in pauses if pause is not None), default=None)

    def turn(self) -> None:
        """End and begin what is due."""
        self._estate.faults.end_expired()
        for step in self.schedule.take_due():
            try:
                self._play(step)
            except (Refusal, SecondsiteError) as error:
                _log.warning("a planned fault cannot be switched", fault=step.fault.value, vm=step.vm, error=str(error))

    def _play(self, step: Step) -> None:
        if step.off:
            self.switch.switch_off(step.fault, step.vm)
        else:
            self.switch.switch_on(step.fault, step.vm, step.value, step.seconds)
