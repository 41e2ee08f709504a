-- What is allowed to whom: tiers, limits, PINs; and what tills ask for by code. Why lookups stand apart
-- with OFFSET 0: migrations/0002_booking.sql.

-- name: set_merchant_status
UPDATE merchants SET status = :status WHERE merchant_id = :merchant_id

-- name: set_tip_margin
UPDATE merchants SET tip_margin_basis_points = :basis_points WHERE merchant_id = :merchant_id

-- name: set_refund_limit
UPDATE terminals SET refund_limit_minor = :limit_minor WHERE terminal_id = :terminal_id

-- name: set_confirm_above
UPDATE instruments SET confirm_above_minor = :confirm_above_minor WHERE instrument_id = :instrument_id

-- name: set_identity_level
UPDATE wallets SET identity_level = :identity_level WHERE wallet_id = :wallet_id

-- name: set_wallet_pin
UPDATE wallets SET pin_hash = :pin_hash, pin_tries = 0, pin_entry = NULL WHERE wallet_id = :wallet_id

-- name: set_limit_tier
INSERT INTO limit_tiers (
    currency, identity_level, confirm_above_minor, pin_max_minor, per_payment_minor, per_day_minor
) VALUES (
    :currency, :identity_level, :confirm_above_minor, :pin_max_minor, :per_payment_minor, :per_day_minor
)
ON CONFLICT (currency, identity_level) DO UPDATE
SET confirm_above_minor = excluded.confirm_above_minor, pin_max_minor = excluded.pin_max_minor,
    per_payment_minor = excluded.per_payment_minor, per_day_minor = excluded.per_day_minor

-- name: list_limit_tiers
SELECT * FROM limit_tiers ORDER BY currency, identity_level

-- name: take_pin_try
UPDATE wallets
SET pin_tries = pin_tries + CASE WHEN pin_entry IS NOT DISTINCT FROM :entry_mark::bytea THEN 0 ELSE 1 END,
    pin_entry = :entry_mark::bytea
WHERE wallet_id = (
        SELECT i.wallet_id FROM payments AS p JOIN instruments AS i USING (instrument_id)
        WHERE p.payment_id = :payment_id
    )
    AND pin_hash IS NOT NULL AND (pin_tries < :tries_max OR pin_entry IS NOT DISTINCT FROM :entry_mark::bytea)
RETURNING pin_hash, pin_tries

-- name: add_intent
INSERT INTO intents (
    intent_id, terminal_id, merchant_id, order_id, amount_minor, currency, order_amount_minor, order_details,
    created_ms, expires_ms
) VALUES (
    :intent_id, :terminal_id, :merchant_id, :order_id, :amount_minor, :currency, :order_amount_minor,
    :order_details, :created_ms, :expires_ms
)
ON CONFLICT (intent_id) DO NOTHING

-- name: find_intent
SELECT * FROM intents WHERE intent_id = :intent_id

-- name: find_open_intent
SELECT * FROM intents AS n
WHERE n.terminal_id = :terminal_id AND n.expires_ms > :now_ms
    AND NOT EXISTS (
        SELECT 1 FROM payments AS p WHERE p.attempt_id = n.intent_id AND p.terminal_id = n.terminal_id
    )
ORDER BY n.created_ms DESC, n.intent_id DESC LIMIT 1

-- name: list_waiting_payments
SELECT p.* FROM open_payments AS w
    CROSS JOIN LATERAL (SELECT * FROM payments_now AS x WHERE x.payment_id = w.payment_id OFFSET 0) AS p
    CROSS JOIN LATERAL (SELECT * FROM instruments AS x WHERE x.instrument_id = p.instrument_id OFFSET 0) AS i
WHERE w.state = 'requires_confirmation' AND w.due_ms > :now_ms AND i.wallet_id = :wallet_id
ORDER BY p.payment_id LIMIT :rows_max

-- name: find_receipt
SELECT p.*, (
        SELECT o.details FROM orders AS o WHERE o.order_id = p.order_id AND o.merchant_id = p.merchant_id
    ) AS order_details
FROM payments_now AS p WHERE p.payment_id = :payment_id

-- name: find_payment_of_wallet
SELECT p.* FROM payments_now AS p
WHERE p.payment_id = :payment_id AND :wallet_id = (
    SELECT i.wallet_id FROM instruments AS i WHERE i.instrument_id = p.instrument_id
)

-- name: list_habit
SELECT s.spent_minor, s.payment_count
FROM unnest(:days::integer[]) AS keys (day)
    CROSS JOIN LATERAL (
        SELECT * FROM spent_days AS x WHERE x.day = keys.day AND x.instrument_id = :instrument_id OFFSET 0
    ) AS s
