"""The operators that requested memory, from torch's own profiler, which does not change the run.

In: a run between `start` and `stop`. Out: a SiteRequest for each allocation, in order of time.
Convention: the outermost operator counts, within the innermost of: a module's call, an autograd
node, a range of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch._C._profiler import (
    ProfilerActivity,
    ProfilerConfig,
    ProfilerState,
    RecordScope,
    _ExperimentalConfig,
)

from planner.worker.record.module_calls import marked
from planner.worker.record.quiet import quiet_kineto

_ATEN = "aten::"
_MEMORY = "[memory]"
_NODE = "autograd::engine::evaluate_function: "
_profiler: Any = torch._C._autograd  # partly untyped in torch


@dataclass(slots=True, kw_only=True, eq=False)
class Site:
    """The origin of requests. `call` is the number of a module's call.

    `forward` is the site of the operator that this autograd node belongs to. `source` is filled in
    later, where a line is known.
    """

    operator: str = ""
    call: int | None = None
    forward: Site | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRequest:
    """One allocation as the profiler saw it; `block_bytes` is the whole block.

    `inner` is the operator that requested it directly; `scratch`: it was freed before that
    operator ended.
    """

    address: int
    block_bytes: int
    site: Site
    inner: str = ""
    scratch: bool = False


class OperatorSites:
    """Records between `start` and `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._running = False

    def start(self) -> None:
        """Starts to record operators, in this thread and in autograd's."""
        if _profiler._profiler_enabled():
            return  # the user's code profiles itself: one profiler at a time
        config = ProfilerConfig(
            ProfilerState.KINETO,
            False,  # shapes
            True,  # memory
            False,  # Python stacks
            False,  # FLOPs
            False,  # TorchScript modules
            _ExperimentalConfig(),
        )
        activities = {ProfilerActivity.CPU}
        with quiet_kineto():
            _profiler._prepare_profiler(config, activities)
        _profiler._enable_profiler(config, activities)
        self._running = True

    def stop(self) -> tuple[SiteRequest, ...]:
        """Ends the recording and returns its requests."""
        if not self._running:
            return ()
        self._running = False
        reading = _Reading(device_type=self._device.type)
        for root in _profiler._disable_profiler().experimental_event_tree():
            reading.read(root)
        reading.requests.sort(key=lambda timed: timed[0])
        return tuple(request for _, request in reading.requests)


class _Within(NamedTuple):
    """The surroundings of an event. `site` is that of the outermost operator, once there is one."""

    call: int | None = None
    site: Site | None = None
    in_node: bool = False
    in_forward: bool = True  # false in an autograd node, except where it computes a module again


class _Reading:
    """Reads the profiler's events. There are tens of thousands: each attribute read costs time."""

    def __init__(self, device_type: str) -> None:
        self.requests: list[tuple[int, SiteRequest]] = []
        self._device_type = device_type
        # sites of forward operators by thread and the sequence number of the node they made
        self._forward: dict[tuple[int, int], Site] = {}
        self._thread = 0
        self._first_thread: int | None = None

    def read(self, root: Any) -> None:
        """Reads a root and all events below it; roots come in order of time."""
        self._thread = root.start_tid
        if self._first_thread is None:
            self._first_thread = self._thread
        if root.name == _MEMORY:
            self._request(root, _Within(), "", frozenset())
        else:
            self._operator(root, root.name, _Within())

    def _operator(self, event: Any, name: str, outside: _Within) -> None:
        children = event.children
        if not children and not outside.in_forward:
            return
        within = self._inside(event, name, outside)
        if not children:
            return
        names = [child.name for child in children]
        released: frozenset[int] = frozenset()
        if _MEMORY in names:
            released = _released_among(children, names)
        for child, child_name in zip(children, names, strict=True):
            if child_name == _MEMORY:
                self._request(child, within, name, released)
            else:
                self._operator(child, child_name, within)

    def _request(self, event: Any, within: _Within, inner: str, released: frozenset[int]) -> None:
        fields = event.extra_fields
        size, address = fields.alloc_size, fields.ptr
        if size < 0 or fields.device.type != self._device_type:
            return
        request = SiteRequest(
            address=address,
            block_bytes=size,
            site=within.site or Site(call=within.call),
            inner=inner,
            scratch=address in released,
        )
        self.requests.append((event.start_time_ns, request))

    def _inside(self, event: Any, name: str, outside: _Within) -> _Within:
        if name.startswith(_ATEN):
            fields = event.extra_fields
        else:
            call = marked(name)
            if call is not None:
                return _Within(call, None, outside.in_node, True)
            fields = event.extra_fields
            if name.startswith(_NODE):
                return self._node(fields.sequence_number, name[len(_NODE) :], outside)
            if getattr(fields, "scope", None) == RecordScope.USER_SCOPE:
                return outside._replace(site=None)
        site = outside.site or Site(operator=name, call=outside.call)
        if outside.in_forward:
            number = getattr(fields, "sequence_number", -1)
            if number >= 0:
                self._forward[self._thread, number] = site
        return outside if outside.site else outside._replace(site=site)

    def _node(self, number: int, name: str, outside: _Within) -> _Within:
        """Returns the surroundings within a node; its forward ran in this or the first thread."""
        thread = self._thread if outside.in_node else self._first_thread
        forward = self._forward.get((thread, number)) if thread is not None else None
        call = None if forward is None else forward.call
        operator = name.removeprefix("torch::autograd::")
        return _Within(call, Site(operator=operator, call=call, forward=forward), True, False)


def _released_among(children: list[Any], names: list[str]) -> frozenset[int]:
    """Returns the addresses that are freed among these events."""
    memory = (child.extra_fields for child, name in zip(children, names, strict=True)
              if name == _MEMORY)  # fmt: skip
    return frozenset(fields.ptr for fields in memory if fields.alloc_size < 0)
