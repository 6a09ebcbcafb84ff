"""The child process, from outside: started, asked for runs, ended."""
