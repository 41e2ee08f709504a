"""The Store over a socket between two processes of one gateway: the same contract, spoken in frames.

calls.py    every call of the contract, with the types of its arguments and of its answer
faults.py   how an error crosses, and comes out as the same class
frames.py   messages of bounded length in a stream of bytes
client.py   the store as a worker sees it
server.py   the process that has the store, answering one worker
"""
