-- Accounts and groups. Each counter check is the WHERE of the UPDATE that moves the counter.
-- `:keys` is a list of keys, and `?1` the first value of a row (gateway/storage/sqlite/queries.py).

-- name: open_account
INSERT INTO accounts (account_id, kind, currency, debits_must_not_exceed_credits, frozen, opened_ms)
VALUES (:account_id, :kind, :currency, :debits_must_not_exceed_credits, :frozen, :opened_ms)

-- name: open_operator_account
INSERT INTO accounts (account_id, kind, currency, debits_must_not_exceed_credits, frozen, opened_ms)
VALUES (:account_id, :kind, :currency, 0, 0, :opened_ms)
ON CONFLICT (account_id) DO NOTHING

-- name: find_account
SELECT * FROM accounts WHERE account_id = :account_id

-- name: set_account_frozen
UPDATE accounts SET frozen = :frozen WHERE account_id = :account_id

-- name: find_chain_head
SELECT sequence, hash FROM ledger_groups ORDER BY sequence DESC LIMIT 1

-- name: list_accounts
WITH keys (account_id) AS (:keys)
SELECT a.account_id, a.kind, a.currency, a.debits_must_not_exceed_credits, a.frozen,
    a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
FROM keys CROSS JOIN accounts AS a USING (account_id)

-- name: list_booked_legs
WITH keys (transfer_id) AS (:keys)
SELECT t.transfer_id, t.kind, t.debit_account_id, t.credit_account_id, t.amount_minor, t.currency,
    t.pending_id, t.expires_ms, t.group_sequence, t.leg_index, g.leg_count, g.purpose
FROM keys CROSS JOIN transfers AS t USING (transfer_id)
    CROSS JOIN ledger_groups AS g ON g.sequence = t.group_sequence

-- name: list_pendings
WITH keys (transfer_id) AS (:keys)
SELECT t.transfer_id, t.kind, t.debit_account_id, t.credit_account_id, t.amount_minor, t.currency,
    t.pending_id, t.expires_ms, p.state
FROM keys CROSS JOIN pendings AS p USING (transfer_id) CROSS JOIN transfers AS t USING (transfer_id)

-- name: list_due_pendings
SELECT t.transfer_id, t.kind, t.debit_account_id, t.credit_account_id, t.amount_minor, t.currency,
    t.pending_id, t.expires_ms, p.state
FROM pendings AS p JOIN transfers AS t USING (transfer_id)
WHERE p.state = 'open' AND p.expires_ms <= :now_ms
ORDER BY p.expires_ms, p.transfer_id LIMIT :rows_max

-- name: add_group
INSERT INTO ledger_groups (sequence, purpose, booked_ms, leg_count, hash) VALUES (?, ?, ?, ?, ?)

-- name: add_transfer
INSERT INTO transfers (
    group_sequence, leg_index, transfer_id, kind, debit_account_id, credit_account_id,
    amount_minor, currency, pending_id, expires_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_pending
INSERT INTO pendings (transfer_id, expires_ms, state) VALUES (?, ?, 'open')

-- name: change_account
UPDATE accounts
SET debits_pending = debits_pending + ?3, debits_posted = debits_posted + ?4,
    credits_pending = credits_pending + ?5, credits_posted = credits_posted + ?6
WHERE account_id = ?1
    AND currency = ?2
    AND (NOT frozen OR NOT ?8)
    AND (NOT debits_must_not_exceed_credits OR credits_posted - debits_posted - debits_pending >= ?7)
    AND debits_pending + debits_posted + ?3 + ?4 <= ?9
    AND credits_pending + credits_posted + ?5 + ?6 <= ?9

-- name: end_pending
UPDATE pendings SET state = ?2
WHERE transfer_id = ?1 AND state = 'open' AND (expires_ms <= ?3) = ?4
