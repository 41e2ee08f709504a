"""The gateway's HTTP interface: signed requests in, messages of wire/messages out.

table.py           which address is which handler: the one place to add one
resources/         the handlers, transport-free: payments, terminals, wallet, health
routes.py          the table as an aiohttp application
dispatch.py        the table for a caller within this process
door.py            the short way of a payment; admission.py, how many are decided at once
calls.py           a request as a value; answers.py, an answer as one
authentication.py  whose request this is
nonces.py          which signed requests were seen already
bodies.py          a body within its bounds
problems.py        every failure as problem+json; the one table from code to status
exchange.py        around every request: an id, a log line, and no exception that gets out
"""
