"""`planner` and `python -m planner`: the command line as a process."""

from __future__ import annotations


def main() -> None:
    """Runs the command line with this process's arguments; ends the process with the exit code."""
    from planner.cli.process import end_in_order, open_missing_streams
    from planner.cli.root import root

    open_missing_streams()
    end_in_order()
    root.main(prog_name="planner")


if __name__ == "__main__":
    main()
