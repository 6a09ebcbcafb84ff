"""`planner` and `python -m planner`: the command line as a process."""

from __future__ import annotations

import gc

# Python's own 700 costs a repeat 5 to 14 % of its time: the records of a recorded run are many and
# hold no cycles. The child, where the user's code runs, keeps Python's own.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Runs the command line with this process's arguments; ends the process with the exit code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    from planner.cli.process import end_in_order, open_missing_streams
    from planner.cli.root import root

    open_missing_streams()
    end_in_order()
    root.main(prog_name="planner")


if __name__ == "__main__":
    main()
