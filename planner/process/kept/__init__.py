"""Answers of the child that are kept on disk, and served again where nothing has changed."""
