"""One gateway in several processes, because Python runs on one core at a time.

main_process.py  the process that is started: the listening sockets, the store, the workers
supervisor.py    starts a worker, starts it again when it dies, and stops it
worker.py        a process that serves requests, on a store of its own or at the end of a link
control.py       what the main process and a worker say to each other: orders, and whether they were followed
"""
