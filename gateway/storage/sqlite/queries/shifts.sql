-- Shifts, and what a till did in one: looked up hour by hour through indexes that lead with the hour, so that a
-- shift of a week costs 168 look-ups however large the ledger is.

-- name: end_overdue_shift
UPDATE shifts SET closed_ms = opened_ms + :shift_ms_max
WHERE terminal_id = :terminal_id AND closed_ms IS NULL AND opened_ms + :shift_ms_max <= :now_ms
RETURNING shift_id

-- name: open_shift
INSERT INTO shifts (shift_id, terminal_id, opened_ms, opened_by)
SELECT :shift_id, :terminal_id, max(
        :opened_ms, coalesce((SELECT max(l.closed_ms) FROM shifts AS l WHERE l.terminal_id = :terminal_id), 0)
    ), :opened_by
WHERE NOT EXISTS (
    SELECT 1 FROM shifts AS o WHERE o.terminal_id = :terminal_id AND o.closed_ms IS NULL
)
ON CONFLICT DO NOTHING

-- name: close_shift
UPDATE shifts
SET closed_ms = min(max(:closed_ms, opened_ms), opened_ms + :shift_ms_max), closed_by = :closed_by
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
WITH RECURSIVE hours (hour) AS (
    SELECT :from_ms / 3600000 UNION ALL SELECT hour + 1 FROM hours WHERE hour < (:to_ms - 1) / 3600000
)
SELECT p.outcome, p.entry_mode, count(*) AS payment_count, sum(p.amount_minor) AS amount_minor,
    sum(p.fee_minor) AS fee_minor,
    sum(CASE WHEN r.payment_id IS NULL THEN 0 ELSE 1 END) AS offline_count,
    sum(CASE WHEN r.payment_id IS NULL THEN 0 ELSE p.amount_minor END) AS offline_minor
FROM hours
    CROSS JOIN payments AS p ON p.decided_ms / 3600000 = hours.hour AND p.terminal_id = :terminal_id
    LEFT JOIN offline_records AS r ON r.payment_id = p.payment_id AND r.has_payment = 1
WHERE p.decided_ms >= :from_ms AND p.decided_ms < :to_ms
GROUP BY p.outcome, p.entry_mode

-- name: sum_steps
WITH RECURSIVE hours (hour) AS (
    SELECT :from_ms / 3600000 UNION ALL SELECT hour + 1 FROM hours WHERE hour < (:to_ms - 1) / 3600000
)
SELECT s.state, p.entry_mode, count(*) AS step_count, sum(s.charged_minor) AS charged_minor,
    sum(s.tip_minor) AS tip_minor, sum(s.fee_minor) AS fee_minor,
    sum(coalesce((SELECT max(r.total_minor) FROM refunds AS r WHERE r.payment_id = s.payment_id), 0))
    AS refunded_minor
FROM hours
    CROSS JOIN payment_steps AS s ON s.at_ms / 3600000 = hours.hour AND s.terminal_id = :terminal_id
    CROSS JOIN payments AS p USING (payment_id)
WHERE s.at_ms >= :from_ms AND s.at_ms < :to_ms
GROUP BY s.state, p.entry_mode

-- name: sum_refunds
WITH RECURSIVE days (day) AS (
    SELECT :from_ms / 86400000 UNION ALL SELECT day + 1 FROM days WHERE day < (:to_ms - 1) / 86400000
)
SELECT count(*) AS refund_count, coalesce(sum(r.amount_minor), 0) AS refunded_minor
FROM days
    CROSS JOIN refunds AS r ON r.day = days.day AND r.terminal_id = :terminal_id
WHERE r.refunded_ms >= :from_ms AND r.refunded_ms < :to_ms
