"""What is asked for, as data: the target, the step, and the words of a caller for both."""
