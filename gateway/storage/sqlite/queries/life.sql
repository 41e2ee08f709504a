-- What happens to payments after they were decided; each change is one transaction.

-- name: find_payment
SELECT p.*, w.account_id AS wallet_account_id, w.wallet_id, m.account_id AS merchant_account_id,
    m.fee_basis_points, m.receipt_count
FROM payments_now AS p
    JOIN merchants AS m USING (merchant_id)
    LEFT JOIN instruments AS i USING (instrument_id)
    LEFT JOIN wallets AS w ON w.wallet_id = i.wallet_id
WHERE p.payment_id = :payment_id

-- name: list_refunds
SELECT * FROM refunds WHERE payment_id = :payment_id ORDER BY total_minor

-- name: find_asking_terminal
SELECT merchant_id FROM terminals WHERE terminal_id = :terminal_id AND status = 'active'

-- name: find_refunding_terminal
SELECT t.refund_limit_minor, t.merchant_id,
    (SELECT r.payment_id FROM refunds AS r WHERE r.refund_id = :refund_id) AS payment_of_refund_id,
    coalesce((SELECT sum(r.amount_minor) FROM refunds AS r WHERE r.day = :day AND r.terminal_id = t.terminal_id), 0)
    AS refunded_today_minor
FROM terminals AS t WHERE t.terminal_id = :terminal_id AND t.status = 'active'

-- name: list_due_payments
SELECT payment_id FROM open_payments
WHERE due_ms <= :now_ms AND payment_id > :after_id ORDER BY payment_id LIMIT :rows_max

-- name: end_open
DELETE FROM open_payments WHERE payment_id = :payment_id AND state = :state_before

-- name: move_open
UPDATE open_payments SET state = :state, due_ms = :due_ms
WHERE payment_id = :payment_id AND state = :state_before

-- name: add_step
INSERT INTO payment_steps (
    payment_id, step_index, step, state, code, request_id, charged_minor, tip_minor, fee_minor,
    order_released_minor, day_released_minor, receipt_number, group_sequence, due_ms, at_ms,
    terminal_id, staff_id
) VALUES (
    :payment_id, :step_index, :step, :state, :code, :request_id, :charged_minor, :tip_minor, :fee_minor,
    :order_released_minor, :day_released_minor, :receipt_number, :group_sequence, :due_ms, :at_ms,
    :terminal_id, :staff_id
)

-- name: release_order
UPDATE orders SET taken_minor = taken_minor - :order_released_minor
WHERE order_id = :order_id AND merchant_id = :merchant_id AND taken_minor >= :order_released_minor

-- name: release_day
UPDATE spent_days SET spent_minor = spent_minor - :day_released_minor
WHERE day = :day AND instrument_id = :instrument_id AND spent_minor >= :day_released_minor

-- name: take_receipt_number
UPDATE merchants SET receipt_count = receipt_count + 1
WHERE merchant_id = :merchant_id AND receipt_count = :receipt_number - 1

-- name: add_refund
INSERT INTO refunds (
    refund_id, payment_id, terminal_id, day, amount_minor, total_minor, fee_minor, reason, staff_id,
    group_sequence, refunded_ms
)
SELECT :refund_id, :payment_id, :terminal_id, :day, :amount_minor, :total_minor, :fee_minor, :reason, :staff_id,
    :group_sequence, :refunded_ms
FROM terminals AS t
WHERE t.terminal_id = :terminal_id
    AND t.status = 'active'
    AND :total_minor - :amount_minor
        = coalesce((SELECT max(total_minor) FROM refunds WHERE payment_id = :payment_id), 0)
    AND :amount_minor + coalesce(
        (SELECT sum(amount_minor) FROM refunds WHERE day = :day AND terminal_id = :terminal_id), 0
    ) <= t.refund_limit_minor

-- name: reset_pin_tries
UPDATE wallets SET pin_tries = 0, pin_entry = NULL
WHERE wallet_id = (
    SELECT i.wallet_id FROM payments AS p JOIN instruments AS i USING (instrument_id)
    WHERE p.payment_id = :payment_id
)

-- name: add_terminal_event
INSERT INTO terminal_events (terminal_id, payment_id, at_ms) VALUES (:terminal_id, :payment_id, :at_ms)

-- name: list_terminal_events
SELECT sequence, payment_id, at_ms FROM terminal_events
WHERE terminal_id = :terminal_id AND sequence > :after ORDER BY sequence LIMIT :rows_max

-- name: find_last_event
SELECT coalesce(max(sequence), 0) AS sequence FROM terminal_events WHERE terminal_id = :terminal_id

-- name: forget_terminal_events
DELETE FROM terminal_events WHERE sequence IN (
    SELECT sequence FROM terminal_events WHERE at_ms < :before_ms ORDER BY sequence LIMIT :rows_max
)
