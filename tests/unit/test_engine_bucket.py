import threading
import time

import pytest

from secondsite.agent.lab.engine import Stopped, TokenBucket

MIB = 1 << 20


def send(bucket: TokenBucket, total: int) -> float:
    started = time.monotonic()
    step = bucket.slice_bytes
    for _ in range(total // step):
        bucket.take(step, threading.Event())
    return time.monotonic() - started


def test_the_rate_is_kept_over_all_streams() -> None:
    bucket = TokenBucket(4 * MIB)
    threads = [threading.Thread(target=send, args=(bucket, MIB)) for _ in range(2)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A slice of credit at either end.
    assert time.monotonic() - started >= 2 / 4 - 2 * bucket.slice_bytes / (4 * MIB)


def test_no_rate_is_no_limit() -> None:
    assert send(TokenBucket(), 4096 * MIB) < 5


def test_a_change_reaches_who_is_waiting() -> None:
    bucket = TokenBucket(1.0)
    bucket.take(MIB, threading.Event())
    thread = threading.Thread(target=bucket.take, args=(MIB, threading.Event()))
    thread.start()
    bucket.rate = None
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_stop_ends_the_waiting() -> None:
    bucket, stop = TokenBucket(1.0), threading.Event()
    bucket.take(MIB, stop)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Stopped):
        bucket.take(1, stop)


def test_a_rate_that_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="None for no limit"):
        TokenBucket().rate = 0
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="would never end"):
            TokenBucket(rate)


def test_what_a_sender_computes_between_two_frames_costs_no_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rate = 100.0, 100_000_000
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket(rate)
    now += 0.09
    sender = threading.Thread(target=send, args=(bucket, rate // 100 * 9), daemon=True)
    sender.start()
    sender.join(10)
    assert not sender.is_alive()


def test_no_pause_is_made_up_for_by_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rate, stop = 100.0, 100_000_000, threading.Event()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket(rate)
    now += 3600
    bucket.take(rate // 5, stop)
    sender = threading.Thread(target=bucket.take, args=(1, threading.Event()), daemon=True)
    sender.start()
    sender.join(0.3)
    assert sender.is_alive()
    bucket.rate = None
    sender.join(10)
    assert not sender.is_alive()
