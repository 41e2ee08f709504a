-- What the auditor reads, all within one read transaction.

-- name: count_groups
SELECT count(*) FROM ledger_groups

-- name: list_groups
SELECT g.sequence, g.purpose, g.booked_ms, g.leg_count, g.hash,
    t.group_sequence, t.leg_index, t.transfer_id, t.kind, t.debit_account_id, t.credit_account_id,
    t.amount_minor, t.currency, t.pending_id, t.expires_ms,
    p.payment_id, p.outcome, p.amount_minor AS paid_minor, p.currency AS paid_currency,
    w.account_id AS wallet_account_id, m.account_id AS merchant_account_id
FROM ledger_groups AS g
    LEFT JOIN transfers AS t ON t.group_sequence = g.sequence
    LEFT JOIN payments AS p ON p.group_sequence = g.sequence
    LEFT JOIN instruments AS i ON i.instrument_id = p.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
    LEFT JOIN merchants AS m ON m.merchant_id = p.merchant_id
ORDER BY g.sequence, t.leg_index

-- name: find_transfer_without_group
SELECT group_sequence FROM transfers
WHERE group_sequence NOT IN (SELECT sequence FROM ledger_groups) LIMIT 1

-- name: list_accounts
SELECT * FROM accounts ORDER BY account_id

-- name: list_pendings
SELECT transfer_id, state FROM pendings ORDER BY transfer_id

-- name: count_approved_payments
SELECT count(*) FROM payments WHERE outcome = 'approved'

-- name: payment_without_group
SELECT 'payment ' || payment_id FROM payments AS p
WHERE outcome = 'approved'
    AND NOT EXISTS (SELECT 1 FROM ledger_groups WHERE sequence = p.group_sequence AND purpose = 'payment')
LIMIT 1

-- name: order_total_differs
SELECT 'order ' || order_id || ' of merchant ' || merchant_id
FROM (
    SELECT merchant_id, order_id, approved_minor AS stored, 0 AS paid FROM orders
    UNION ALL
    SELECT merchant_id, order_id, 0, amount_minor FROM payments WHERE outcome = 'approved'
)
GROUP BY merchant_id, order_id HAVING sum(stored) <> sum(paid) LIMIT 1

-- name: day_total_differs
SELECT 'instrument ' || instrument_id || ' on day ' || day
FROM (
    SELECT instrument_id, day, spent_minor AS stored, 0 AS paid FROM spent_days
    UNION ALL
    SELECT instrument_id, decided_ms / :day_ms, 0, amount_minor FROM payments WHERE outcome = 'approved'
)
GROUP BY instrument_id, day HAVING sum(stored) <> sum(paid) LIMIT 1

-- name: receipt_count_differs
SELECT 'merchant ' || m.merchant_id
FROM merchants AS m LEFT JOIN payments AS p ON p.merchant_id = m.merchant_id AND p.outcome = 'approved'
GROUP BY m.merchant_id
HAVING m.receipt_count <> count(p.payment_id) OR m.receipt_count <> coalesce(max(p.receipt_number), 0)
LIMIT 1
