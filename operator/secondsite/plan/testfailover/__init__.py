"""TestFailover: a rehearsal on thin copies at the target, and its clean-up."""

from secondsite.plan.testfailover.judge import judge
from secondsite.plan.testfailover.planner import plan

__all__ = ["judge", "plan"]
