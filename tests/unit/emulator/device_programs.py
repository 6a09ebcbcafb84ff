"""Programs that ask the emulated device through ctypes, each in a process of its own.

The device is loaded once for a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def answer_of(program: str, given: Any) -> Any:
    """What the program prints as JSON; `given` is the JSON on its stdin."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
