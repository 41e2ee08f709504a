-- Decisions, found again.

-- name: find_attempt
SELECT * FROM payments WHERE attempt_id = :attempt_id AND terminal_id = :terminal_id

-- name: find_payment
SELECT p.* FROM payments AS p JOIN terminals AS t USING (merchant_id)
WHERE p.payment_id = :payment_id AND t.terminal_id = :terminal_id
