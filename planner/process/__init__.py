"""The child process, from outside: starts it, requests runs from it, ends it."""
