"""One small process per container: what conmon is.

It starts the container, owns its log, its terminal and its exit record, serves those who
attach, and is the only writer of the container's state. It imports nothing heavy: 4 MB
of private memory is the budget. If it dies the kernel ends the container with it
(PR_SET_PDEATHSIG), and the next command finds the state stale and heals it.

``protocol`` is what goes over the attach socket, ``logs`` the json-file format, ``reaper`` the
process itself, ``launch`` how a command starts one.
"""
