"""Packs built devices as a wheel, so that whoever installs it needs no compiler.

    python -m planner.emulator.wheel OUT_DIR [SITE_PACKAGES ...]

In: torch installations: that of this interpreter, or those in folders that `pip install --target`
has filled. Out: a wheel of vram-planner-devices with a device for each, and the replay in native
code. It holds what is compiled of planner's own sources; the libraries of NVIDIA and of torch stay
where pip has them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from planner._version import __version__
from planner.emulator.build import build_device, build_key
from planner.emulator.prebuilt import DISTRIBUTION, PACKAGE
from planner.emulator.replay_library import build_library, library_key
from planner.emulator.sealed import seal
from planner.emulator.torch_install import TorchInstall, find_torch
from planner.errors import PlannerError

_TAG = "py3-none-linux_x86_64"
_NAME = f"{PACKAGE}-{__version__}"
_INIT = '"""Emulated devices for vram-planner, built ahead."""\n'
_METADATA = f"""\
Metadata-Version: 2.1
Name: {DISTRIBUTION}
Version: {__version__}
Summary: Emulated CUDA devices of vram-planner, built ahead: no compiler is needed.
License: Apache-2.0
"""
_WHEEL = f"""\
Wheel-Version: 1.0
Generator: planner.emulator.wheel
Root-Is-Purelib: false
Tag: {_TAG}
"""


def devices_wheel(out: Path, torches: Iterable[TorchInstall]) -> Path:
    """Builds a device for each torch, and writes the wheel into the folder `out`.

    A build counts the compiled packages next to torch (torchvision, torchaudio) as its inputs. So
    there is one device with those that are installed, and one for users who have none of them.

    Raises:
        PlannerError: a device cannot be built.
        OSError: the wheel cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for torch in torches:
            for variant in (torch, replace(torch, extension_folders=())):
                work = root / build_key(variant)
                if not work.exists():
                    work.mkdir()
                    seal(work, build_device(variant, work, lambda _: None))
        work = root / library_key()
        work.mkdir()
        seal(work, build_library(work))
        return _written(out, root)


def _written(out: Path, root: Path) -> Path:
    """Writes the files below `root`; links are left out, because a seal names them."""
    out.mkdir(parents=True, exist_ok=True)
    wheel = out / f"{_NAME}-{_TAG}.whl"
    info = f"{_NAME}.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        record = []
        for name, content in (
            (f"{PACKAGE}/__init__.py", _INIT.encode()),
            *_contents(root),
            (f"{info}/METADATA", _METADATA.encode()),
            (f"{info}/WHEEL", _WHEEL.encode()),
        ):
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            record.append(f"{name},sha256={digest.rstrip('=')},{len(content)}")
        record.append(f"{info}/RECORD,,")
        archive.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
    return wheel


def _contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield f"{PACKAGE}/{path.relative_to(root)}", path.read_bytes()


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m planner.emulator.wheel", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument(
        "torch",
        type=Path,
        nargs="*",
        metavar="SITE_PACKAGES",
        help="folder with another torch: pip install --target SITE_PACKAGES torch==2.13.0",
    )
    given = parser.parse_args(words)
    try:
        torches = [find_torch(folder) for folder in given.torch or (None,)]
        wheel = devices_wheel(given.out, torches)
    except (PlannerError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    versions = ", ".join(torch.version for torch in torches)
    sys.stdout.write(f"{wheel}: torch {versions}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
