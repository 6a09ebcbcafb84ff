"""Resource requests for schedulers: an Estimate as text that a scheduler reads."""
