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
    p.merchant_id, p.receipt_number, p.fee_minor
FROM payments AS p
    LEFT JOIN instruments AS i ON i.instrument_id = p.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
WHERE p.group_sequence IS NOT NULL
ORDER BY p.group_sequence

-- name: list_booked_steps
SELECT s.group_sequence, s.payment_id, s.step, s.charged_minor, s.fee_minor, p.amount_minor, p.currency,
    w.account_id, p.merchant_id, s.receipt_number,
    coalesce((SELECT max(r.total_minor) FROM refunds AS r WHERE r.payment_id = s.payment_id), 0),
    coalesce((SELECT o.loss_minor FROM offline_records AS o WHERE o.payment_id = s.payment_id AND o.has_payment), 0)
FROM payment_steps AS s
    LEFT JOIN payments AS p ON p.payment_id = s.payment_id
    LEFT JOIN instruments AS i ON i.instrument_id = p.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
WHERE s.group_sequence IS NOT NULL
ORDER BY s.group_sequence

-- name: list_booked_refunds
SELECT r.group_sequence, r.payment_id, r.refund_id, r.amount_minor, r.fee_minor, p.currency, w.account_id,
    p.merchant_id, r.total_minor,
    coalesce((SELECT o.loss_minor FROM offline_records AS o WHERE o.payment_id = r.payment_id AND o.has_payment), 0)
FROM refunds AS r
    LEFT JOIN payments AS p ON p.payment_id = r.payment_id
    LEFT JOIN instruments AS i ON i.instrument_id = p.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
ORDER BY r.group_sequence

-- name: list_booked_records
SELECT p.group_sequence, r.payment_id, c.account_id, r.loss_minor
FROM offline_records AS r
    JOIN payments AS p ON p.payment_id = r.payment_id
    LEFT JOIN credentials AS c ON c.credential_id = r.credential_id
WHERE r.has_payment AND p.group_sequence IS NOT NULL
ORDER BY p.group_sequence

-- name: list_credentials
SELECT c.account_id, c.credential_id, w.account_id, c.allowance_minor, c.state
FROM credentials AS c
    LEFT JOIN instruments AS i ON i.instrument_id = c.instrument_id
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
ORDER BY c.credential_id

-- name: list_offline_records
SELECT r.terminal_id, r.sequence, r.link, r.previous_link, r.sealed, r.attempt_id, r.outcome, r.amount_minor,
    r.currency, r.loss_minor, r.loss_bearer, r.accepted_ms, r.has_payment, p.outcome, p.request_digest,
    p.terminal_id, p.attempt_id, p.amount_minor, p.currency,
    EXISTS (
        SELECT 1 FROM offline_alarms AS a
        WHERE a.terminal_id = r.terminal_id AND a.sequence = r.sequence AND a.kind = 'gap' AND a.link = r.link
    ),
    EXISTS (
        SELECT 1 FROM offline_alarms AS a
        WHERE a.terminal_id = r.terminal_id AND a.sequence IN (r.sequence - 1, r.sequence)
            AND a.kind = 'chain_broken'
    )
FROM offline_records AS r LEFT JOIN payments AS p ON p.payment_id = r.payment_id
ORDER BY r.terminal_id, r.sequence

-- name: count_pendings
SELECT count(*) FROM pendings

-- name: list_payments
SELECT p.payment_id, p.outcome, p.entry_mode, p.group_sequence,
    EXISTS (SELECT 1 FROM terminals AS t WHERE t.terminal_id = p.terminal_id AND t.merchant_id = p.merchant_id)
    AND (
        p.instrument_id IS NULL
        OR EXISTS (SELECT 1 FROM instruments AS i WHERE i.instrument_id = p.instrument_id)
    )
    AND EXISTS (SELECT 1 FROM entry_modes AS m WHERE m.entry_mode = p.entry_mode),
    p.amount_minor, p.tip_max_minor, p.fee_minor, p.is_manual
FROM payments AS p ORDER BY p.payment_id

-- name: list_steps
SELECT s.payment_id, s.step_index, s.step, s.state, s.charged_minor, s.tip_minor, s.fee_minor,
    s.order_released_minor, s.day_released_minor, s.receipt_number, s.group_sequence, s.due_ms, s.at_ms,
    CASE WHEN s.group_sequence IS NULL THEN (
        SELECT h.expires_ms
        FROM payments AS p
            JOIN transfers AS t ON t.group_sequence = p.group_sequence AND t.leg_index = 0
            JOIN pendings AS h ON h.transfer_id = t.transfer_id
        WHERE p.payment_id = s.payment_id AND h.state IN ('open', 'expired')
    ) END
FROM payment_steps AS s ORDER BY s.payment_id, s.step_index

-- name: list_refunds
SELECT payment_id, refund_id, day, amount_minor, total_minor, fee_minor, refunded_ms
FROM refunds ORDER BY payment_id, total_minor

-- name: list_open_payments
SELECT o.payment_id, o.state, o.due_ms, t.expires_ms
FROM open_payments AS o
    LEFT JOIN payments AS p ON p.payment_id = o.payment_id
    LEFT JOIN transfers AS t ON t.group_sequence = p.group_sequence AND t.leg_index = 0
ORDER BY o.payment_id

-- name: list_token_payment_ids
SELECT payment_id FROM token_uses ORDER BY payment_id

-- name: list_copied_payment_ids
SELECT r.payment_id
FROM offline_records AS r JOIN token_uses AS u ON u.key_id = r.key_id AND u.counter = r.counter
WHERE r.has_payment AND r.outcome = 'settled' AND u.payment_id <> r.payment_id
ORDER BY r.payment_id

-- name: list_orders
SELECT order_id, merchant_id, taken_minor, amount_minor FROM orders ORDER BY order_id, merchant_id

-- name: list_order_sums
SELECT order_id, merchant_id, sum(minor)::bigint
FROM (
    SELECT order_id, merchant_id, amount_minor - tip_max_minor AS minor FROM payments WHERE outcome <> 'declined'
    UNION ALL
    SELECT p.order_id, p.merchant_id, -s.order_released_minor
    FROM payment_steps AS s JOIN payments AS p USING (payment_id)
) AS taken
GROUP BY order_id, merchant_id ORDER BY order_id, merchant_id

-- name: list_days
SELECT day, instrument_id, spent_minor FROM spent_days ORDER BY day, instrument_id

-- name: list_day_sums
-- Dividing cuts off what is behind the point, as rounding down does for every time since 1970.
SELECT day, instrument_id, sum(minor)::bigint
FROM (
    SELECT decided_ms / :day_ms::bigint AS day, instrument_id, amount_minor AS minor FROM payments
    WHERE outcome <> 'declined'
    UNION ALL
    SELECT p.decided_ms / :day_ms::bigint, p.instrument_id, -s.day_released_minor
    FROM payment_steps AS s JOIN payments AS p USING (payment_id)
) AS spent
GROUP BY day, instrument_id ORDER BY day, instrument_id
