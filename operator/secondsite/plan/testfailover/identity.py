"""What marks everything that belongs to one test, and the intents that are derived from it.

The identity holds no uid: objects that are restored from a backup are the same tests, and repeat nothing.
"""

import hashlib
import json

from secondsite.api.kind import Object
from secondsite.api.testfailover import TestFailoverSpec

# What may change during a test is not part of what the test is.
_MUTABLE = ("cleanup", "ttlSecondsAfterFinished")


def owner(test: Object[TestFailoverSpec]) -> str:
    """`NAMESPACE/NAME/DIGEST`, the digest being that of the immutable part of the spec."""
    spec = {name: value for name, value in test.spec.manifest().items() if name not in _MUTABLE}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]
    return f"{test.namespace}/{test.name}/{digest}"


def network_id(test: Object[TestFailoverSpec]) -> str:
    """Id of the isolated network that the VMs of the test share; one word, for it becomes part of a path."""
    return f"test-{hashlib.sha256(owner(test).encode()).hexdigest()[:16]}"


def start_intent(test: Object[TestFailoverSpec]) -> str:
    return f"test/{owner(test)}"


def check_intent(test: Object[TestFailoverSpec], check: str) -> str:
    return f"test/{owner(test)}/check/{check}"


def stop_intent(test: Object[TestFailoverSpec]) -> str:
    return f"test/{owner(test)}/stop"
