"""A wait for a key that another rank would set ends, and names the key."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from planner.worker.ranks import stores
from planner.worker.ranks.stores import end_waits


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store of a rank alone, whose waits end soon."""
    kinds: Any = (dist.Store, dist.TCPStore)
    before = [(kind, dict(vars(kind))) for kind in kinds]
    monkeypatch.setattr(stores, "WAIT", timedelta(seconds=1))
    end_waits()
    yield dist.HashStore()  # type: ignore[attr-defined] # not listed by torch
    for kind, had in before:
        for name, value in dict(vars(kind)).items():
            if name not in had:
                delattr(kind, name)
            elif had[name] is not value:
                setattr(kind, name, had[name])


def test_a_key_that_is_there_is_got_at_once(store: Any) -> None:
    store.set("ready", "yes")
    assert store.get("ready") == b"yes"
    store.wait(["ready"], timedelta(minutes=5))
    assert store.timeout == timedelta(minutes=5)


def test_a_missing_key_is_named(store: Any) -> None:
    before_s = time.monotonic()
    with pytest.raises(dist.DistStoreError, match="waited 1 s for key epoch-1 of a store"):
        store.get("epoch-1")
    with pytest.raises(dist.DistStoreError, match="one of the keys first, second of a store"):
        store.wait(["first", "second"], timedelta(minutes=5))
    with pytest.raises(dist.DistStoreError, match="key inner of a store"):
        dist.PrefixStore("part", store).get("inner")
    assert time.monotonic() - before_s < 10
    assert store.timeout == timedelta(minutes=5)


def test_a_thread_of_this_rank_may_set_it(store: Any) -> None:
    timer = threading.Timer(0.2, lambda: store.set("late", "1"))
    timer.start()
    assert store.get("late") == b"1"
    timer.join()


def test_a_tcp_store_waits_for_no_other_rank(store: Any) -> None:
    made = dist.TCPStore("127.0.0.1", 0, 4, True)
    made.set("here", "1")
    assert made.get("here") == b"1"
    with pytest.raises(dist.DistStoreError, match="key there of a store"):
        made.get("there")
