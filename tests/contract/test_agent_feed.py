"""The change feed: no change is ever missed, whatever a reader's cursor, however pages and changes interleave."""

from __future__ import annotations

import asyncio
import threading
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.changes import Feed
from secondsite.agent.poll import poll
from secondsite.wire.facts import Fact
from secondsite.wire.feed import PAGE_SIZE, AnyFact, Changes
from secondsite.wire.inventory import VM, Network, Site


def vm(id_: str, host: str = "h1") -> VM:
    return VM(id=id_, name=id_, cloud="gold", host=host, state="Running")


async def ask(feed: Feed, cursor: str = "", wait: float = 0, *, settled: bool = True) -> Changes:
    body = await poll(feed, cursor, wait, settled=lambda: settled, closing=lambda: False)
    return msgspec.json.decode(body, type=Changes)


class Mirror:
    """A reader that keeps to the rules of `wire.feed.Changes`, as an operator must."""

    def __init__(self) -> None:
        self.cursor = ""
        self.facts: dict[tuple[str, str], AnyFact] = {}
        self._named: set[tuple[str, str]] | None = None

    def take(self, page: Changes) -> None:
        self.cursor = page.cursor
        if page.settling:
            return
        if page.begins:
            self._named = set()
        for entry in page.entries:
            key = (type(entry).__name__, entry.id)
            if entry.facts is None:
                self.facts.pop(key, None)
            else:
                self.facts[key] = entry.facts
            if self._named is not None:
                self._named.add(key)
        if page.whole and not page.more and self._named is not None:
            self.facts = {key: fact for key, fact in self.facts.items() if key in self._named}
            self._named = None

    async def read(self, feed: Feed) -> bool:
        page = await ask(feed, self.cursor)
        self.take(page)
        return page.more


async def catch_up(mirror: Mirror, feed: Feed) -> None:
    while await mirror.read(feed):
        pass


_STEP = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 1400), st.integers(0, 3)),
    st.tuples(st.just("withdraw"), st.integers(0, 1400), st.just(0)),
    st.tuples(st.just("many"), st.integers(0, 1400), st.integers(1, 700)),
    st.tuples(st.just("few gone"), st.integers(0, 1400), st.integers(1, 60)),
    st.tuples(st.just("page"), st.just(0), st.just(0)),
    st.tuples(st.just("catch up"), st.just(0), st.just(0)),
    st.tuples(st.just("strange cursor"), st.just(0), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(_STEP, max_size=40))
def test_a_reader_that_has_caught_up_has_exactly_what_there_is(steps: list[tuple[str, int, int]]) -> None:
    # A short memory for what has gone, so that cursors fall behind it often.
    feed, mirror, truth = Feed(remembered_gone=20), Mirror(), dict[tuple[str, str], AnyFact]()

    def change(number: int, fact: AnyFact | None) -> None:
        feed.publish(VM, str(number), fact)
        if fact is None:
            truth.pop(("VMEntry", str(number)), None)
        else:
            truth["VMEntry", str(number)] = fact

    async def run() -> None:
        for step, first, count in steps:
            if step == "page":
                await mirror.read(feed)
            elif step == "catch up":
                await catch_up(mirror, feed)
            elif step == "strange cursor":
                mirror.cursor = "another.17"
            elif step in {"withdraw", "few gone"}:
                for number in range(first, first + max(count, 1)):
                    change(number, None)
            else:
                for number in range(first, first + (count if step == "many" else 1)):
                    change(number, vm(str(number), f"h{count}"))
        await catch_up(mirror, feed)

    asyncio.run(run())
    assert mirror.facts == truth


async def test_a_new_reader_gets_everything_in_marked_pages() -> None:
    feed = Feed()
    for number in range(2 * PAGE_SIZE + 1):
        feed.publish(VM, str(number), vm(str(number)))
    pages = [await ask(feed)]
    while pages[-1].more:
        pages.append(await ask(feed, pages[-1].cursor))
    assert [len(page.entries) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 1]
    assert all(page.whole for page in pages)
    assert not (await ask(feed, pages[-1].cursor)).whole


async def test_what_is_gone_before_a_whole_answer_is_not_in_it() -> None:
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    feed.publish(VM, "a", None)
    assert (await ask(feed)).entries == ()


async def test_what_goes_during_a_whole_answer_is_said_to_be_gone() -> None:
    feed = Feed()
    for number in range(PAGE_SIZE + 1):
        feed.publish(VM, str(number), vm(str(number)))
    mirror = Mirror()
    assert await mirror.read(feed)
    feed.publish(VM, "0", None)
    await catch_up(mirror, feed)
    assert ("VMEntry", "0") not in mirror.facts
    assert len(mirror.facts) == PAGE_SIZE


async def test_who_stands_before_a_forgotten_departure_gets_everything() -> None:
    feed, mirror = Feed(remembered_gone=2), Mirror()
    for number in range(5):
        feed.publish(VM, str(number), vm(str(number)))
    await catch_up(mirror, feed)
    for number in range(2):
        feed.publish(VM, str(number), None)
    assert not (await ask(feed, mirror.cursor)).whole
    feed.publish(VM, "2", None)
    assert (await ask(feed, mirror.cursor)).whole
    await catch_up(mirror, feed)
    assert {id_ for _, id_ in mirror.facts} == {"3", "4"}


async def test_cursors_of_another_instance_ahead_or_illegible_get_everything() -> None:
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    ahead = f"{feed.instance}.99"
    for cursor in ("", "x", "other.1", ahead, f"{feed.instance}.1.99", f"{feed.instance}.-1", f"{feed.instance}.²"):
        page = await ask(feed, cursor)
        assert page.whole, cursor
        assert [entry.id for entry in page.entries] == ["a"]


async def test_the_same_again_is_no_change() -> None:
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    feed.publish(VM, "a", vm("a"))
    feed.publish(VM, "b", None)
    assert feed.revision == 1
    feed.publish(VM, "a", vm("a", "h2"))
    assert feed.revision == 2


async def test_one_id_may_be_of_two_kinds() -> None:
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    feed.publish(Network, "a", Network(name="a", logical_network="l"))
    feed.publish(VM, "a", None)
    kinds: list[type[Fact]] = [VM, Network]
    assert [feed.fact(kind, "a") is None for kind in kinds] == [True, False]


async def test_a_poll_waits_for_news_from_another_thread_and_takes_the_whole_burst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Long enough for a thread on a busy machine.
    monkeypatch.setattr("secondsite.agent.poll.LINGER_SECONDS", 1.0)
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    cursor = (await ask(feed)).cursor

    def burst() -> None:
        for number in range(5):
            feed.publish(VM, f"b{number}", vm("b"))

    waiting = asyncio.create_task(ask(feed, cursor, 20))
    await asyncio.sleep(0)
    thread = threading.Thread(target=burst)
    thread.start()
    page = await waiting
    await asyncio.to_thread(thread.join)
    assert [entry.id for entry in page.entries] == [f"b{number}" for number in range(5)]


async def test_a_fact_that_never_rests_does_not_keep_a_poll_waiting() -> None:
    feed, stop = Feed(), threading.Event()
    feed.publish(VM, "a", vm("a"))
    cursor = (await ask(feed)).cursor

    def restless() -> None:
        count = 0
        while not stop.wait(0.002):
            count += 1
            feed.publish(VM, "a", vm("a", f"h{count}"))

    thread = threading.Thread(target=restless)
    thread.start()
    started = time.monotonic()
    page = await ask(feed, cursor, 30)
    stop.set()
    await asyncio.to_thread(thread.join)
    assert page.entries
    assert time.monotonic() - started < 10


async def test_while_the_site_settles_only_the_site_is_told() -> None:
    feed = Feed()
    feed.publish(VM, "a", vm("a"))
    feed.publish(Site, "site", Site(state="Ready", vmm_name="vmm1"))
    page = await ask(feed, "other.7", settled=False)
    assert (page.settling, page.whole, page.cursor) == (True, False, "")
    assert [entry.facts for entry in page.entries] == [Site(state="Settling", vmm_name="vmm1")]


async def test_a_poll_for_everything_waits_until_the_site_has_settled() -> None:
    feed, settled = Feed(), False
    feed.publish(VM, "a", vm("a"))
    waiting = asyncio.create_task(poll(feed, "", 30, settled=lambda: settled, closing=lambda: False))
    done, _ = await asyncio.wait({waiting}, timeout=0.25)
    assert not done
    settled = True
    assert msgspec.json.decode(await waiting, type=Changes).whole


async def test_news_goes_on_while_the_site_settles() -> None:
    feed = Feed()
    cursor = (await ask(feed)).cursor
    feed.publish(VM, "a", vm("a"))
    page = await ask(feed, cursor, settled=False)
    assert [entry.id for entry in page.entries] == ["a"]


async def test_closing_answers_who_waits() -> None:
    feed, closing = Feed(), False
    cursor = (await ask(feed)).cursor
    waiting = asyncio.create_task(poll(feed, cursor, 60, settled=lambda: True, closing=lambda: closing))
    await asyncio.sleep(0)
    closing = True
    feed.rouse()
    assert msgspec.json.decode(await asyncio.wait_for(waiting, 5), type=Changes).entries == ()
