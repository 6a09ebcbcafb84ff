"""`planner` and `python -m planner`: the command line as a process."""

from __future__ import annotations

import atexit
import gc

# The records of a recorded run are many and hold no cycles: with 50,000, a repeat spends 12 % of
# its time on looking for them. The child, where the user's code runs, keeps Python's own 700.
_OBJECTS_BETWEEN_COLLECTIONS = 500_000


def main() -> None:
    """Runs the command line with this process's arguments; ends the process with the exit code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)  # the last collection of an ending interpreter then looks at nothing
    from planner.cli.process import end_in_order, open_missing_streams
    from planner.cli.root import root

    open_missing_streams()
    end_in_order()
    root.main(prog_name="planner")


if __name__ == "__main__":
    main()
