"""The gateway's HTTP interface: signed requests in, messages of wire/messages out.

routes.py          which address is which handler
resources.py       the handlers: payments, enrolment, payment codes, health
authentication.py  whose request this is
nonces.py          which signed requests were seen already
bodies.py          a body within its bounds
problems.py        every failure as problem+json; the one table from code to status
exchange.py        around every request: an id, a log line, and no exception that gets out
"""
