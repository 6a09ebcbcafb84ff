"""The child process: `python -m planner.step REQUEST_FD ANSWER_FD`, started by the launcher."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Serves requests from one pipe and answers on another until the parent is gone."""
    if len(sys.argv) != 3:
        print("planner.step is started by planner itself; run: planner --help", file=sys.stderr)
        return 2
    requests, answers = (int(argument) for argument in sys.argv[1:])
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    from planner.step.server import serve

    return serve(requests, answers)


if __name__ == "__main__":
    sys.exit(main())
