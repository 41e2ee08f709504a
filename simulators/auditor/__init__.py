"""An independent witness of the money: what a ledger must answer, and whether its books hold.

It shares no code with the gateway and takes plain values only, so that a mistake there is not repeated
here. It is written to be obviously right, not quick.
"""
