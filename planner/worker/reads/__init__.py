"""What the user's code reads while it is loaded and run, for the answers that are kept."""
