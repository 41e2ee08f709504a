-- Shifts, and what a till did in one: looked up hour by hour through indexes that lead with the hour, so that a
-- shift of a week costs 168 look-ups however large the ledger is.
-- Why they stand apart with OFFSET 0: migrations/0002_booking.sql.

-- name: end_overdue_shift
UPDATE shifts SET closed_ms = opened_ms + :shift_ms_max
WHERE terminal_id = :terminal_id AND closed_ms IS NULL AND opened_ms + :shift_ms_max <= :now_ms
RETURNING shift_id

-- name: open_shift
INSERT INTO shifts (shift_id, terminal_id, opened_ms, opened_by)
SELECT :shift_id::text, :terminal_id::text, greatest(
        :opened_ms::bigint, coalesce((SELECT max(l.closed_ms) FROM shifts AS l WHERE l.terminal_id = :terminal_id::text), 0)
    ), :opened_by::text
WHERE NOT EXISTS (
    SELECT 1 FROM shifts AS o WHERE o.terminal_id = :terminal_id::text AND o.closed_ms IS NULL
)
ON CONFLICT DO NOTHING

-- name: close_shift
UPDATE shifts
SET closed_ms = least(greatest(:closed_ms::bigint, opened_ms), opened_ms + :shift_ms_max::bigint), closed_by = :closed_by::text
WHERE shift_id = :shift_id AND terminal_id = :terminal_id AND closed_ms IS NULL
RETURNING shift_id

-- name: find_shift
SELECT s.*, o.name AS opened_by_name, c.name AS closed_by_name
FROM shifts AS s LEFT JOIN staff AS o ON o.staff_id = s.opened_by LEFT JOIN staff AS c ON c.staff_id = s.closed_by
WHERE s.shift_id = :shift_id AND s.terminal_id = :terminal_id

-- name: find_open_shift
SELECT s.*, o.name AS opened_by_name, NULL AS closed_by_name
FROM shifts AS s LEFT JOIN staff AS o ON o.staff_id = s.opened_by
WHERE s.terminal_id = :terminal_id AND s.closed_ms IS NULL

-- name: sum_decided
WITH hours (hour) AS (
    SELECT generate_series(:from_ms::bigint / 3600000, (:to_ms::bigint - 1) / 3600000)
)
SELECT p.outcome, p.entry_mode, count(*) AS payment_count, sum(p.amount_minor)::bigint AS amount_minor,
    sum(p.fee_minor)::bigint AS fee_minor,
    sum(CASE WHEN r.payment_id IS NULL THEN 0 ELSE 1 END)::bigint AS offline_count,
    sum(CASE WHEN r.payment_id IS NULL THEN 0 ELSE p.amount_minor END)::bigint AS offline_minor
FROM hours
    CROSS JOIN LATERAL (
        SELECT * FROM payments AS x
        WHERE x.decided_ms / 3600000 = hours.hour AND x.terminal_id = :terminal_id
        OFFSET 0
    ) AS p
    LEFT JOIN offline_records AS r ON r.payment_id = p.payment_id AND r.has_payment = true
WHERE p.decided_ms >= :from_ms::bigint AND p.decided_ms < :to_ms::bigint
GROUP BY p.outcome, p.entry_mode

-- name: sum_steps
WITH hours (hour) AS (
    SELECT generate_series(:from_ms::bigint / 3600000, (:to_ms::bigint - 1) / 3600000)
)
SELECT s.state, p.entry_mode, count(*) AS step_count, sum(s.charged_minor)::bigint AS charged_minor,
    sum(s.tip_minor)::bigint AS tip_minor, sum(s.fee_minor)::bigint AS fee_minor,
    sum(coalesce((SELECT max(r.total_minor) FROM refunds AS r WHERE r.payment_id = s.payment_id), 0))::bigint
    AS refunded_minor
FROM hours
    CROSS JOIN LATERAL (
        SELECT * FROM payment_steps AS x
        WHERE x.at_ms / 3600000 = hours.hour AND x.terminal_id = :terminal_id
        OFFSET 0
    ) AS s
    CROSS JOIN LATERAL (SELECT * FROM payments AS x WHERE x.payment_id = s.payment_id OFFSET 0) AS p
WHERE s.at_ms >= :from_ms::bigint AND s.at_ms < :to_ms::bigint
GROUP BY s.state, p.entry_mode

-- name: sum_refunds
WITH days (day) AS (
    SELECT generate_series(:from_ms::bigint / 86400000, (:to_ms::bigint - 1) / 86400000)
)
SELECT count(*) AS refund_count, coalesce(sum(r.amount_minor), 0)::bigint AS refunded_minor
FROM days
    CROSS JOIN LATERAL (
        SELECT * FROM refunds AS x
        WHERE x.day = days.day AND x.terminal_id = :terminal_id
        OFFSET 0
    ) AS r
WHERE r.refunded_ms >= :from_ms::bigint AND r.refunded_ms < :to_ms::bigint
