"""Model files of benchmarks.libraries: one for each package."""
