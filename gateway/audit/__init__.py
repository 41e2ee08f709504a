"""The audit: recompute the books from their transfers, and name the first thing that is not so.

It shares no arithmetic with the code that books. Walking the groups in order (`walk.py`), it checks the hash
chain, that every payment, step and refund has its one group and every group of a payment its row
(`matching.py`, `legs.py`), that holds are ended once and by no more than they held, that receipts are
numbered without a gap, and that no account ever went below what it may (`accounts.py`). Then the counters
and states stored beside the transfers must be what the transfers add up to, the steps of each payment must
lead from its decision to where it stands (`lives.py`), and orders and days must be what payments and steps
add up to (`totals.py`). Of payments without a connection, allowances must have been set aside and given back
(`allowances.py`), and every record must be what its terminal sealed and what its payment says
(`offline.py`).

Memory grows with the number of accounts, merchants, credentials and open holds: nothing is kept per payment,
per group or per hold that ended. `codes.py` lists everything it can find.
"""

from __future__ import annotations

from gateway.audit.codes import BreakCode
from gateway.audit.report import AuditBreak, AuditReport, Progress
from gateway.audit.run import audit, audit_books

__all__ = ["AuditBreak", "AuditReport", "BreakCode", "Progress", "audit", "audit_books"]
