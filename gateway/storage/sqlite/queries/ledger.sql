-- Accounts and groups. Each counter check is the WHERE of the UPDATE that moves the counter.

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

-- name: find_booked_leg
SELECT t.*, g.leg_count, g.purpose
FROM transfers AS t JOIN ledger_groups AS g ON g.sequence = t.group_sequence
WHERE t.transfer_id = :transfer_id

-- name: add_group
INSERT INTO ledger_groups (sequence, purpose, booked_ms, leg_count, hash)
VALUES (:sequence, :purpose, :booked_ms, :leg_count, :hash)

-- name: add_transfer
INSERT INTO transfers (
    group_sequence, leg_index, transfer_id, kind, debit_account_id, credit_account_id,
    amount_minor, currency, pending_id, expires_ms
) VALUES (
    :group_sequence, :leg_index, :transfer_id, :kind, :debit_account_id, :credit_account_id,
    :amount_minor, :currency, :pending_id, :expires_ms
)

-- name: debit_account
UPDATE accounts
SET debits_pending = debits_pending + :pending_minor, debits_posted = debits_posted + :posted_minor
WHERE account_id = :account_id
    AND currency = :currency
    AND (NOT frozen OR :lets_go)
    AND debits_pending + debits_posted + :pending_minor + :posted_minor <= :counter_max
    AND (
        NOT debits_must_not_exceed_credits
        OR debits_pending + debits_posted + :pending_minor + :posted_minor <= credits_posted
    )

-- name: credit_account
UPDATE accounts
SET credits_pending = credits_pending + :pending_minor, credits_posted = credits_posted + :posted_minor
WHERE account_id = :account_id
    AND currency = :currency
    AND credits_pending + credits_posted + :pending_minor + :posted_minor <= :counter_max

-- name: add_pending
INSERT INTO pendings (transfer_id, expires_ms, state) VALUES (:transfer_id, :expires_ms, 'open')

-- name: find_pending
SELECT t.*, p.state FROM pendings AS p JOIN transfers AS t USING (transfer_id)
WHERE p.transfer_id = :pending_id

-- name: resolve_pending
UPDATE pendings SET state = :state
WHERE transfer_id = :pending_id AND state = 'open' AND (expires_ms <= :now_ms) = :is_expiry

-- name: list_due_pendings
SELECT t.* FROM pendings AS p JOIN transfers AS t USING (transfer_id)
WHERE p.state = 'open' AND p.expires_ms <= :now_ms
ORDER BY p.expires_ms, p.transfer_id LIMIT :rows_max
