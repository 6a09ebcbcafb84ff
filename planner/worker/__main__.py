"""The child process: REQUEST_FD ANSWER_FD STACK_FD NOTES_FD as arguments."""

from __future__ import annotations

import sys


def main() -> int:
    """Serves requests from one pipe and answers on another until the parent is gone."""
    if len(sys.argv) != 5:
        print("planner.worker is started by planner itself; run: planner --help", file=sys.stderr)
        return 2
    requests, answers, stack, notes = (int(argument) for argument in sys.argv[1:])
    del sys.argv[1:]  # the user's code may read its own arguments: there are none
    from planner.worker.serve import compiler_folder
    from planner.worker.serve.pipes import out_of_the_way
    from planner.worker.serve.supervisor import run_supervised

    requests, answers, stack, notes = map(out_of_the_way, (requests, answers, stack, notes))

    compiled = compiler_folder.made()
    run_supervised(requests, answers, compiled)
    from planner.worker.serve.server import serve

    return serve(requests, answers, stack, notes, compiled)


if __name__ == "__main__":
    sys.exit(main())
