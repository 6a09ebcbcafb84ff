"""`planner ui`: a page of this machine that asks for estimates, shows them and compares them.

In: a folder with model files, and the options of a command as records. Out: a server at 127.0.0.1.
Convention: starlette and uvicorn are imported here alone; each job is a process of its own.
"""
