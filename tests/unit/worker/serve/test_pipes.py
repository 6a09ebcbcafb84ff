"""Pipes of a child: whole lines, and numbers that a model's code does not hit by chance."""

from __future__ import annotations

import os
import resource

import pytest

from planner.worker.serve import pipes
from planner.worker.serve.pipes import Lines, PrivateDescriptors, out_of_the_way, write


def test_a_long_line_arrives_whole() -> None:
    out, into = os.pipe()
    lines = Lines(out)
    write(into, b"a\n" + b"b" * 50_000 + b"\nc")
    os.close(into)
    assert lines.wait() == b"a"
    assert lines.wait() == b"b" * 50_000
    assert lines.wait() is None
    os.close(out)


def test_a_pipe_that_takes_nothing_is_an_error_and_no_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipes, "_write", lambda descriptor, data: 0)
    with pytest.raises(OSError, match="takes nothing"):
        write(1, b"x")


def test_a_write_of_the_users_own_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    out, into = os.pipe()
    write(into, b"x\n")
    assert Lines(out).wait() == b"x"
    os.close(out)
    os.close(into)


def test_a_descriptor_moves_to_a_high_number_and_is_not_inherited() -> None:
    out, into = os.pipe()
    moved = out_of_the_way(into)
    assert moved != into
    assert 200 < moved < 1024
    assert not os.get_inheritable(moved)
    os.write(moved, b"x")
    assert os.read(out, 1) == b"x"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(into)
    os.close(moved)
    os.close(out)


def test_where_few_numbers_are_allowed_it_stays_below_the_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        moved = out_of_the_way(os.dup(0))
        assert moved < 256
        os.close(moved)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_the_user_has_closed_is_closed_without_a_word() -> None:
    out, into = os.pipe()
    private = PrivateDescriptors([out, into])
    os.close(out)
    private.close()
    assert private.descriptors == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(into)
