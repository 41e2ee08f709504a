"""One gateway in several processes, because Python runs on one core at a time.

control.py      what the main process and a worker say to each other: orders, and whether they were followed
worker.py       a process that serves requests, on a store of its own or at the end of a link
supervisor.py   starts workers, starts them again when they die, and stops them
house.py        the main process: the listening socket, the store, the workers
"""
