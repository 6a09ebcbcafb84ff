"""Checks a target before anything is started: paths, module names and source, never run."""
