"""Callbacks for training programs: predicted memory beside measured memory in the user's own log.

They run in the process that trains, with its torch. Nothing here imports torch, starts a card or
changes a statistic of it; an error of ours is one warning in the log.
"""
