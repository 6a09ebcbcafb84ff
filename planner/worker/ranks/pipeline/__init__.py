"""Divides a model into the stages of a pipeline, and runs those of one rank."""
