"""The messages of the HTTP interfaces, as frozen structs; the only shape JSON may have on the wire.

payments.py   a till's payment and its answer (gateway, /v1/payments)
enrolment.py  a terminal introduces itself (gateway, /v1/terminals)
wallet.py     what a holder's device asks of the gateway (/v1/wallet)
offline.py    payments accepted without a connection (gateway, /v1/offline and /v1/wallet/credentials)
problem.py    an error, as RFC 9457 problem details
till.py       what till software asks of the daemon beside it (terminal, /v1/sales)
till_page.py  what the daemon's own pages ask of it on top (terminal, /v1/page, /v1/display)

Unknown fields are refused: a misspelt limit must not be silently no limit.
"""
