"""The command line: flags to library call to report to exit code. No logic of its own."""
