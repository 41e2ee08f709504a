-- What the auditor reads, all within one read transaction; columns as gateway/storage/audit_source.py.

-- name: count_groups
SELECT count(*) FROM ledger_groups

-- name: list_accounts
SELECT account_id, kind, currency, debits_must_not_exceed_credits::integer,
    debits_pending, debits_posted, credits_pending, credits_posted
FROM accounts ORDER BY account_id

-- name: list_merchants
SELECT merchant_id, account_id, receipt_count FROM merchants ORDER BY merchant_id

-- name: list_groups
SELECT sequence, purpose, booked_ms, leg_count, hash FROM ledger_groups ORDER BY sequence

-- name: list_transfers
SELECT t.group_sequence, t.leg_index, t.transfer_id, t.kind, t.debit_account_id, t.credit_account_id,
    t.amount_minor, t.currency, t.pending_id, t.expires_ms, p.state, p.expires_ms
FROM transfers AS t
    -- Only a pending transfer has a row there.
    LEFT JOIN pendings AS p ON p.transfer_id = t.transfer_id AND t.kind = 'pending'
ORDER BY t.group_sequence, t.leg_index

-- name: list_booked_payments
SELECT p.group_sequence, p.payment_id, p.outcome, p.amount_minor, p.currency, w.account_id,
    p.merchant_id, p.receipt_number
FROM payments AS p
    LEFT JOIN instruments AS i ON i.instrument_id = p.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
WHERE p.group_sequence IS NOT NULL
ORDER BY p.group_sequence

-- name: count_pendings
SELECT count(*) FROM pendings

-- name: list_payments
SELECT p.payment_id, p.outcome, p.entry_mode, p.group_sequence,
    EXISTS (SELECT 1 FROM terminals AS t WHERE t.terminal_id = p.terminal_id AND t.merchant_id = p.merchant_id)
    AND (
        p.instrument_id IS NULL
        OR EXISTS (SELECT 1 FROM instruments AS i WHERE i.instrument_id = p.instrument_id)
    )
    AND EXISTS (SELECT 1 FROM entry_modes AS m WHERE m.entry_mode = p.entry_mode)
FROM payments AS p ORDER BY p.payment_id

-- name: list_token_payment_ids
SELECT payment_id FROM token_uses ORDER BY payment_id

-- name: list_orders
SELECT order_id, merchant_id, taken_minor, amount_minor FROM orders ORDER BY order_id, merchant_id

-- name: list_order_sums
SELECT order_id, merchant_id, sum(amount_minor)::bigint FROM payments WHERE outcome = 'approved'
GROUP BY order_id, merchant_id ORDER BY order_id, merchant_id

-- name: list_days
SELECT day, instrument_id, spent_minor FROM spent_days ORDER BY day, instrument_id

-- name: list_day_sums
-- Dividing cuts off what is behind the point, as rounding down does for every time since 1970.
SELECT decided_ms / :day_ms::bigint AS day, instrument_id, sum(amount_minor)::bigint
FROM payments WHERE outcome = 'approved'
GROUP BY 1, 2 ORDER BY 1, 2
