-- Accounts, and the chain's head. Why lookups stand apart with OFFSET 0: migrations/0002_booking.sql.

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
SELECT a.*
FROM unnest(:account_ids::bytea[]) AS keys (account_id)
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = keys.account_id OFFSET 0) AS a

-- name: list_booked_legs
SELECT t.*, g.leg_count, g.purpose
FROM unnest(:transfer_ids::bytea[]) AS keys (transfer_id)
    CROSS JOIN LATERAL (SELECT * FROM transfers AS x WHERE x.transfer_id = keys.transfer_id OFFSET 0) AS t
    CROSS JOIN LATERAL (SELECT * FROM ledger_groups AS x WHERE x.sequence = t.group_sequence OFFSET 0) AS g

-- name: list_pendings
SELECT t.*, p.state
FROM unnest(:transfer_ids::bytea[]) AS keys (transfer_id)
    CROSS JOIN LATERAL (SELECT * FROM pendings AS x WHERE x.transfer_id = keys.transfer_id OFFSET 0) AS p
    CROSS JOIN LATERAL (SELECT * FROM transfers AS x WHERE x.transfer_id = keys.transfer_id OFFSET 0) AS t

-- name: list_due_pendings
SELECT t.*, p.state
FROM (
        SELECT * FROM pendings WHERE state = 'open' AND expires_ms <= :now_ms
        ORDER BY expires_ms, transfer_id LIMIT :rows_max
    ) AS p
    CROSS JOIN LATERAL (SELECT * FROM transfers AS x WHERE x.transfer_id = p.transfer_id OFFSET 0) AS t
ORDER BY p.expires_ms, p.transfer_id
