"""A target looked at before anything is started: paths, module names and source, never run."""
