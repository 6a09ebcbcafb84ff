"""The request as data: the target, the step, and the caller's words for both."""
