"""A view of the disk in which nothing that a script writes is kept, by Linux namespaces.

In: this process, alone and with one thread, before it becomes the script. Out: the same process in
user, mount and network namespaces of its own. Each folder that it could write is an overlay whose
upper layer is in memory and ends with the last process; all else is read-only; of the network there
is the loopback alone. Convention: any step that fails raises OSError; the process is then unfit
for the script.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR = 442  # its system call; asm/unistd_64.h
_AT_FDCWD, _MOUNT_ATTR_RDONLY = -100, 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# Folders of the system, which stay as they are and become read-only.
_SYSTEM = frozenset(
    ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "proc", "run",
     "sbin", "snap", "sys", "usr")
)  # fmt: skip
_KERNEL = frozenset(
    ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "debugfs", "tracefs",
     "securityfs", "pstore", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs", "nsfs",
     "efivarfs", "rpc_pipefs")
)  # fmt: skip
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes a blank: \040
_MOUNTS = Path("/proc/self/mountinfo")
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One line of mountinfo."""

    place: Path
    kind: str
    is_read_only: bool


def enter_namespaces(folder: Path, kept: Sequence[Path], working: Path) -> None:
    """Moves this process into namespaces in which it can write `folder` and `kept` alone for good.

    Raises:
        OSError: this kernel, or who runs it, does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE, None)
    _loopback_up()
    mounts = mounted(_MOUNTS.read_text())
    targets = overlaid(mounts, [working])
    kept = [path for path in kept if path.is_dir()]
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (*targets, folder, *kept)}
    upper = folder / "upper"
    upper.mkdir(exist_ok=True)
    _mount("tmpfs", upper, "tmpfs", 0, "mode=0700")
    # by descriptor: an overlay of /tmp hides the place
    held[upper] = os.open(upper, os.O_PATH | os.O_DIRECTORY)
    layers = Path(f"/proc/self/fd/{held[upper]}")
    made = [
        target
        for number, target in enumerate(targets)
        if _has_overlay(target, held[target], layers / str(number))
    ]
    for path in (folder, *kept):
        _mount(f"/proc/self/fd/{held[path]}", path, None, _MS_BIND, None)
    if _SHARED_MEMORY not in folder.parents:
        _mount("tmpfs", _SHARED_MEMORY, "tmpfs", 0, "mode=1777")
    _rest_read_only(mounts, made)
    _hide_cards()
    for descriptor in held.values():
        os.close(descriptor)
    os.chdir(working)


def mounted(text: str) -> list[Mounted]:
    """Returns the mounts of a mountinfo, those that another hides left out; see proc(5)."""
    found: dict[Path, Mounted] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        place = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        for hidden in [one for one in found if place in (one, *one.parents)]:
            del found[hidden]
        found[place] = Mounted(
            place=place,
            kind=after.split(" ")[0],
            is_read_only="ro" in (*fields[5].split(","), *after.split(" ")[2].split(",")),
        )
    return list(found.values())


def overlaid(mounts: Sequence[Mounted], others: Sequence[Path]) -> list[Path]:
    """Returns the folders that get an overlay: those of / that are not the system's, and `others`.

    A folder with a mount below is taken apart, because an overlay would hide that mount, and the
    kernel refuses one. Read-only mounts stay as they are.
    """
    tops = [Path("/", name) for name in sorted(os.listdir("/")) if name not in _SYSTEM]
    tops += [one for one in others if not any(top in (one, *one.parents) for top in tops)]
    places = {one.place: one for one in mounts}
    return [found for top in tops if not top.is_symlink() for found in _without_mounts(top, places)]


def _without_mounts(place: Path, mounts: Mapping[Path, Mounted]) -> Iterator[Path]:
    own = mounts.get(place)
    if not place.is_dir() or (own is not None and (own.is_read_only or own.kind in _KERNEL)):
        return
    if not any(place in other.parents for other in mounts):
        yield place
        return
    with suppress(OSError):  # another user's
        for child in sorted(place.iterdir()):
            if not child.is_symlink():
                yield from _without_mounts(child, mounts)


def _has_overlay(place: Path, descriptor: int, upper: Path) -> bool:
    """Makes an overlay; returns whether this file system takes one. Else it becomes read-only."""
    top, work = upper / "top", upper / "work"
    for made in (upper, top, work):
        made.mkdir()
    with suppress(OSError):  # of another user: its copy is this user's
        os.chmod(top, stat.S_IMODE(os.stat(descriptor).st_mode))
    below = f"/proc/self/fd/{descriptor}"
    try:
        options = f"lowerdir={below},upperdir={top},workdir={work},userxattr"
        _mount("overlay", place, "overlay", 0, options)
    except OSError:
        return False
    return True


def _rest_read_only(mounts: Sequence[Mounted], overlays: Sequence[Path]) -> None:
    for one in mounts:
        covered = one.place in overlays or any(place in overlays for place in one.place.parents)
        if covered or one.is_read_only or one.kind in _KERNEL or one.place == _SHARED_MEMORY:
            continue
        attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
        _call(
            "syscall", _MOUNT_SETATTR, _AT_FDCWD, bytes(one.place), 0, attributes, len(attributes)
        )


def _hide_cards() -> None:
    """Puts /dev/null in the place of each NVIDIA device."""
    for device in Path("/dev").glob("nvidia*"):
        if not device.is_dir():
            _mount("/dev/null", device, None, _MS_BIND, None)


def _loopback_up() -> None:
    """Starts the loopback: torchrun and gloo talk to themselves by it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _mount(source: str, place: Path, kind: str | None, flags: int, options: str | None) -> None:
    try:
        _call(
            "mount",
            source.encode(),
            bytes(place),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if options is None else options.encode(),
        )
    except OSError as error:
        raise OSError(error.errno, f"{kind or 'bind'} at {place}: {error.strerror}") from None


def _call(name: str, *arguments: object) -> int:
    """Calls a function of libc.

    Raises:
        OSError: it has failed.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    result = int(function(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
