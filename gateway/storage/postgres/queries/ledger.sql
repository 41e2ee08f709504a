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

-- name: list_accounts
SELECT a.* FROM unnest(:account_ids::bytea[]) AS keys (account_id) JOIN accounts AS a USING (account_id)

-- name: list_booked_legs
SELECT t.*, g.leg_count, g.purpose
FROM unnest(:transfer_ids::bytea[]) AS keys (transfer_id)
    JOIN transfers AS t USING (transfer_id)
    JOIN ledger_groups AS g ON g.sequence = t.group_sequence

-- name: list_pendings
SELECT t.*, p.state
FROM unnest(:transfer_ids::bytea[]) AS keys (transfer_id)
    JOIN pendings AS p USING (transfer_id)
    JOIN transfers AS t USING (transfer_id)

-- name: list_due_pendings
SELECT t.*, p.state
FROM pendings AS p JOIN transfers AS t USING (transfer_id)
WHERE p.state = 'open' AND p.expires_ms <= :now_ms
ORDER BY p.expires_ms, p.transfer_id LIMIT :rows_max
