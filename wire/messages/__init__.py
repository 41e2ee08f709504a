"""The messages of the HTTP interfaces, as frozen structs; the only shape JSON may have on the wire.

payments.py   a till's payment and its answer (gateway, /v1/payments)
intents.py    a till's own code, and who pays it (gateway, /v1/intents and /v1/counters)
enrolment.py  a terminal introduces itself (gateway, /v1/terminals)
sessions.py   a key for the requests of the coming hours (gateway, /v1/terminals/sessions)
terminals.py  what happened without a terminal's asking (gateway, /v1/terminals/events)
cards.py      a conversation with a card that a terminal carries (gateway, /v1/card-sessions)
staff.py      who works at a till and what they may do (gateway and terminal, /v1/staff)
shifts.py     from when to when, and what was taken (gateway and terminal, /v1/shifts)
wallet.py     what a holder's device asks of the gateway (/v1/wallet)
offline.py    payments accepted without a connection (gateway, /v1/offline and /v1/wallet/credentials)
problem.py    an error, as RFC 9457 problem details
till.py       what till software asks of the daemon beside it (terminal, /v1/sales)
till_page.py  what the daemon's own pages ask of it on top (terminal, /v1/page, /v1/display)

Unknown fields are refused: a misspelt limit must not be silently no limit.
"""
