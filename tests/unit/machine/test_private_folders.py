"""Who may change a folder above the cache: tried with two accounts, where this process is root."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from planner.emulator.cache import VARIABLE, DeviceCache
from planner.errors import BuildError
from planner.machine import private_folders
from planner.machine.private_folders import WeakFolder, made_private, make_folder

VICTIM, OTHER = 61_001, 61_002  # numbers of users; they need no names

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="two accounts take root")


def test_missing_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert made_private(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_links_are_resolved_once_and_for_all(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert made_private(tmp_path / "link" / "cache") == tmp_path / "real" / "cache"


def test_a_file_above_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        made_private(tmp_path / "file" / "cache")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        make_folder(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "members", "is_safe"),
    [("me", [], True), ("me", ["me"], True), ("me", ["me", "you"], False), ("users", [], False)],
)
def test_a_group_of_the_user_alone_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], is_safe: bool
) -> None:
    user = pwd.struct_passwd(("me", "x", os.getuid(), os.getgid(), "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    monkeypatch.setattr(
        grp, "getgrgid", lambda gid: grp.struct_group((name, "x", os.getgid(), members))
    )
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o775)
    found = made_private(folder)
    if is_safe:
        assert found == folder
    else:
        assert found == WeakFolder(
            folder=folder, reason="its group may write to it", cure=f"chmod g-w {folder}"
        )


def test_root_has_the_overflow_number_in_a_container_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = tmp_path / "uid_map"
    overflow = tmp_path / "overflowuid"
    overflow.write_text("65534\n")
    monkeypatch.setattr(private_folders, "_UID_MAP", maps)
    monkeypatch.setattr(private_folders, "_OVERFLOW_UID", overflow)
    maps.write_text("         0          0 4294967295\n")
    assert private_folders._trusted_users() == {os.getuid(), 0}
    maps.write_text("      1000       1000          1\n")
    assert private_folders._trusted_users() == {os.getuid(), 0, 65534}


def opened() -> str:
    """What the cache of this account makes of $VRAM_PLANNER_CACHE."""
    try:
        return f"opened {DeviceCache.open().folder}"
    except BuildError as error:
        return f"refused {error}"


def swapped(folder: Path) -> str:
    """Puts a folder of this account in the place of one on the way to the libraries."""
    try:
        folder.rename(f"{folder}-moved")
        folder.mkdir(mode=0o755)
    except OSError as error:
        return str(error.strerror)
    return "swapped"


REFUSALS = {os.strerror(errno.EPERM), os.strerror(errno.EACCES)}
LEVELS = ("", "home", "home/cache", "home/cache/device")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the victim in a folder where all may write, as /tmp is."""
    shared = Path(tempfile.mkdtemp(prefix="two-users-", dir="/tmp"))
    shared.chmod(0o1777)
    base = shared / "base"
    try:
        for level in LEVELS:
            (base / level).mkdir(mode=0o700)
            (base / level).chmod(0o711)
            os.chown(base / level, VICTIM, VICTIM)
        # /tmp itself is root's and sticky, and the next folder has to be the user's own
        os.chown(shared, VICTIM, VICTIM)
        yield base
    finally:
        shutil.rmtree(shared)


def as_user(user: int, act: Callable[[], str], cache: Path | None = None) -> str:
    """What `act` returns in a process that belongs to another account."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            if cache is not None:
                os.environ[VARIABLE] = str(cache)
            os.write(writing, act().encode())
        except BaseException as error:
            os.write(writing, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


@needs_root
def test_what_nobody_else_can_change_is_taken(home: Path) -> None:
    cache = home / "home" / "cache"
    assert as_user(VICTIM, opened, cache) == f"opened {cache / 'device'}"
    for level in LEVELS:
        assert as_user(OTHER, partial(swapped, home / level)) in REFUSALS


@needs_root
@pytest.mark.parametrize("level", LEVELS[:-1])
@pytest.mark.parametrize("way", ["owner", "all", "group"])
def test_what_another_account_can_swap_is_refused(home: Path, level: str, way: str) -> None:
    folder, cache = home / level, home / "home" / "cache"
    if way == "owner":
        os.chown(folder, OTHER, VICTIM)
        folder.chmod(0o755)
    elif way == "all":
        folder.chmod(0o777)
    else:
        os.chown(folder, VICTIM, OTHER)
        folder.chmod(0o775)
    said = as_user(VICTIM, opened, cache)
    reason = {
        "owner": f"it belongs to user {OTHER}, not to you",
        "all": "others may write to it",
        "group": "its group may write to it",
    }[way]
    assert said.startswith(f"refused the cache folder {cache / 'device'} cannot be used: {folder} ")
    assert reason in said
    assert f"set {VARIABLE} to a folder of your own" in said
    assert (f"run chmod g{'' if way == 'group' else 'o'}-w {folder}, or" in said) == (
        way != "owner"
    )
    # and it was no idle fear
    below = home / LEVELS[LEVELS.index(level) + 1]
    assert as_user(OTHER, lambda: swapped(below)) == "swapped"


@needs_root
@pytest.mark.parametrize(("owner", "mode"), [(OTHER, 0o755), (VICTIM, 0o777), (VICTIM, 0o1777)])
def test_the_folder_of_another_account_is_refused(home: Path, owner: int, mode: int) -> None:
    cache = home / "home" / "cache"
    os.chown(cache / "device", owner, VICTIM)
    (cache / "device").chmod(mode)
    assert as_user(VICTIM, opened, cache).startswith("refused ")


@needs_root
@pytest.mark.parametrize("level", LEVELS[:-1])
def test_a_sticky_folder_is_no_danger(home: Path, level: str) -> None:
    cache = home / "home" / "cache"
    (home / level).chmod(0o1777)
    assert as_user(VICTIM, opened, cache) == f"opened {cache / 'device'}"
    below = home / LEVELS[LEVELS.index(level) + 1]
    assert as_user(OTHER, lambda: swapped(below)) in REFUSALS


@needs_root
def test_a_folder_that_another_made_first_in_tmp_is_refused(home: Path) -> None:
    taken = home.parent / "cache"
    as_user(OTHER, lambda: str(taken.mkdir(mode=0o755)))
    said = as_user(VICTIM, opened, taken)
    assert f"{taken} above it is not safe: it belongs to user {OTHER}, not to you" in said
    assert list(taken.iterdir()) == []


@needs_root
def test_links_of_another_account_lead_to_no_folder_of_his(home: Path) -> None:
    (home / "home" / "cache" / "device").rmdir()
    foreign = home.parent / "foreign"
    as_user(OTHER, lambda: str(foreign.mkdir(mode=0o755)))
    link = home.parent / "link"
    link.symlink_to(foreign)
    assert f"{foreign} above it is not safe" in as_user(VICTIM, opened, link)
