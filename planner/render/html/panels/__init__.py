"""The panel of a page for each kind of result."""
