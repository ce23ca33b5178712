"""An agent of the lab may open as many files as a site of many VMs needs."""

import resource
from collections.abc import Iterator

import pytest

from secondsite.agent.lab.driver import allow_descriptors


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_and_the_hard_one_stays(few_descriptors: int) -> None:
    allow_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == (65536 if hard == resource.RLIM_INFINITY else min(hard, 65536))
    assert hard == few_descriptors
