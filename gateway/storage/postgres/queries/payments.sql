-- Decisions, found again.

-- name: find_attempt
SELECT * FROM payments_now WHERE attempt_id = :attempt_id AND terminal_id = :terminal_id

-- name: find_payment
SELECT p.* FROM payments_now AS p
WHERE p.payment_id = :payment_id
    AND p.merchant_id = (SELECT merchant_id FROM terminals WHERE terminal_id = :terminal_id)

-- name: list_attempts
SELECT p.*
FROM unnest(:attempt_ids::text[], :terminal_ids::text[]) AS keys (attempt_id, terminal_id)
    CROSS JOIN LATERAL (
        SELECT * FROM payments_now AS x
        WHERE x.attempt_id = keys.attempt_id AND x.terminal_id = keys.terminal_id OFFSET 0
    ) AS p

-- name: payment_facts
SELECT * FROM payment_facts(:attempts, :now_ms)

-- name: book_batch
SELECT * FROM book_batch(
    :group_changes, :leg_changes, :account_changes, :counter_max, :pending_ends, :active_terminal_ids,
    :tokens_spent, :codes_spent, :card_changes, :suspended_key_ids, :order_changes, :day_changes,
    :wallet_days, :receipt_changes, :payment_changes
)
