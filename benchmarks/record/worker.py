"""`python -m benchmarks.record.worker MODULE`: runs steps in the environment of their source.

In: on stdin what `answers` of the module takes, one JSON document. Out: on stdout a JSON line for
each answer, as soon as it is there.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int:
    """Reads what is asked, and writes the answers of the module."""
    module = importlib.import_module(sys.argv[1])
    for answer in module.answers(json.load(sys.stdin)):
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
