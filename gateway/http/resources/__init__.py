"""The handlers, one module a resource; each takes a call and returns an answer, and knows no transport.

A handler is a method `(call, parameters, noted) -> Answer`: the request as a value, what its address said
(`{payment_id}`), and the exchange it notes the caller and the outcome in. What it raises becomes a problem
(gateway/http/problems.py). gateway/http/table.py says which address leads to it.
"""
