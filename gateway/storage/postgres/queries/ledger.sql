-- Accounts, and the chain's head.

-- name: open_account
INSERT INTO accounts (account_id, kind, currency, debits_must_not_exceed_credits, frozen, opened_ms)
VALUES (:account_id, :kind, :currency, :debits_must_not_exceed_credits, :frozen, :opened_ms)

-- name: open_operator_account
INSERT INTO accounts (account_id, kind, currency, debits_must_not_exceed_credits, frozen, opened_ms)
VALUES (:account_id, :kind, :currency, false, false, :opened_ms)
ON CONFLICT (account_id) DO NOTHING

-- name: find_account
SELECT * FROM accounts WHERE account_id = :account_id

-- name: set_account_frozen
UPDATE accounts SET frozen = :frozen WHERE account_id = :account_id

-- name: lock_chain_head
-- Whoever changes what bookings judge takes its turn among them: once the change is committed, no booking
-- judges by what was before.
SELECT sequence FROM chain_head FOR UPDATE
