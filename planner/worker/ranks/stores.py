"""Ends waits for keys of a store that nobody can set, because the other ranks are not there.

In: torch's stores. Out: the same; a wait for a missing key ends after some seconds, with an error
that names the key. Convention: a thread of this rank may still set it within that time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

WAIT = timedelta(seconds=5)
_WAITING = ("get", "wait", "multi_get")
_MARK = "_planner_ends"
_TCP_STORE = ("host_name", "port", "world_size", "is_master", "timeout", "wait_for_workers")


def end_waits() -> None:
    """Changes the stores of this process, once."""
    store: Any = dist.Store  # type: ignore[attr-defined] # not listed by torch
    if hasattr(store, _MARK):
        return
    for name in _WAITING:
        if hasattr(store, name):
            setattr(store, name, _ending(getattr(store, name)))
    setattr(store, _MARK, True)
    tcp: Any = getattr(dist, "TCPStore", None)
    if tcp is not None:
        tcp.__init__ = _alone(tcp.__init__)


def _ending(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method of a store that waits for WAIT at most."""

    @functools.wraps(method)
    def ending(self: Any, keys: Any, *timeout: Any, **given: Any) -> Any:
        usual = self.timeout
        if usual > WAIT:
            self.set_timeout(WAIT)
        try:
            times = [min(one, WAIT) for one in (*timeout, *given.values())]
            return method(self, keys, *times)
        except dist.DistStoreError as error:
            raise dist.DistStoreError(_unset(keys)) from error
        finally:
            self.set_timeout(usual)

    return ending


def _unset(keys: Any) -> str:
    named: Sequence[Any] = [keys] if isinstance(keys, (str, bytes)) else list(keys)
    listed = ", ".join(one.decode() if isinstance(one, bytes) else str(one) for one in named)
    several = "one of the keys" if len(named) > 1 else "key"
    return (
        f"waited {WAIT.seconds} s for {several} {listed} of a store, and nobody has set it: "
        "planner plays one rank, and a key that another rank would set is never there. Set it on "
        "this rank too, with store.set, before the wait"
    )


def _alone(begin: Callable[..., None]) -> Callable[..., None]:
    """Returns the constructor of a TCPStore that waits for no other rank."""

    @functools.wraps(begin)
    def alone(self: Any, *args: Any, **given: Any) -> None:
        named = {**dict(zip(_TCP_STORE, args, strict=False)), **given}
        begin(self, **{**named, "wait_for_workers": False})

    return alone
