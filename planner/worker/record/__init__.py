"""The record of a run's memory: requests, their categories, phases and origins."""
