-- One attempt, decided and booked. The guards of single use, limits and orders are the statements' own.

-- name: find_attempt
SELECT * FROM payments WHERE terminal_id = :terminal_id AND attempt_id = :attempt_id

-- name: find_payment
SELECT p.* FROM payments AS p JOIN terminals AS t USING (merchant_id)
WHERE p.payment_id = :payment_id AND t.terminal_id = :terminal_id

-- name: find_site
SELECT t.status AS terminal_status, m.merchant_id, m.status AS merchant_status, m.name AS merchant_name,
    m.account_id, m.fee_basis_points, l.name AS location_name
FROM terminals AS t JOIN merchants AS m USING (merchant_id) JOIN locations AS l USING (location_id)
WHERE t.terminal_id = :terminal_id

-- name: find_payer
SELECT i.instrument_id, i.label, i.status, i.per_payment_minor, w.account_id,
    (SELECT weakness FROM entry_modes WHERE entry_mode = :entry_mode)
        <= (SELECT weakness FROM entry_modes WHERE entry_mode = i.weakest_entry_mode) AS is_strong_enough
FROM instruments AS i JOIN wallets AS w USING (wallet_id)
WHERE i.instrument_id = :instrument_id

-- name: spend_token
INSERT INTO token_uses (key_id, counter, claims_digest, terminal_id, terminal_nonce, payment_id)
VALUES (:key_id, :counter, :claims_digest, :terminal_id, :terminal_nonce, :payment_id)
ON CONFLICT DO NOTHING

-- name: find_token_use
SELECT claims_digest FROM token_uses WHERE key_id = :key_id AND counter = :counter

-- name: suspend_key
UPDATE instruments SET status = 'suspended' WHERE key_id = :key_id

-- name: raise_card_counter
UPDATE instruments SET card_counter = :counter
WHERE instrument_id = :instrument_id AND card_counter < :counter

-- name: use_payment_code
UPDATE payment_codes SET used_by = :payment_id
WHERE code_hash = :code_hash AND used_by IS NULL AND expires_ms > :now_ms

-- name: approve_order
INSERT INTO orders (merchant_id, order_id, amount_minor, approved_minor)
VALUES (:merchant_id, :order_id, :amount_minor, :amount_minor)
ON CONFLICT (merchant_id, order_id) DO UPDATE
SET approved_minor = approved_minor + excluded.approved_minor
WHERE approved_minor + excluded.approved_minor <= amount_minor

-- name: take_allowance
INSERT INTO spent_days (instrument_id, day, spent_minor)
SELECT i.instrument_id, :day, :amount_minor
FROM instruments AS i
WHERE i.instrument_id = :instrument_id
    AND i.status = 'active'
    AND (SELECT weakness FROM entry_modes WHERE entry_mode = :entry_mode)
        <= (SELECT weakness FROM entry_modes WHERE entry_mode = i.weakest_entry_mode)
    AND :amount_minor <= i.per_payment_minor
    AND :amount_minor <= i.per_day_minor
ON CONFLICT (instrument_id, day) DO UPDATE
SET spent_minor = spent_minor + excluded.spent_minor
WHERE spent_minor + excluded.spent_minor
    <= (SELECT per_day_minor FROM instruments WHERE instrument_id = excluded.instrument_id)

-- name: take_receipt_number
UPDATE merchants SET receipt_count = receipt_count + 1
WHERE merchant_id = :merchant_id RETURNING receipt_count

-- name: add_payment
INSERT INTO payments (
    payment_id, attempt_id, request_digest, terminal_id, merchant_id, order_id, outcome, decline_code,
    amount_minor, currency, entry_mode, instrument_id, instrument_label, merchant_name, location_name,
    receipt_number, group_sequence, presented_ms, card_exchange_ms, decided_ms
) VALUES (
    :payment_id, :attempt_id, :request_digest, :terminal_id, :merchant_id, :order_id, :outcome,
    :decline_code, :amount_minor, :currency, :entry_mode, :instrument_id, :instrument_label,
    :merchant_name, :location_name, :receipt_number, :group_sequence, :presented_ms, :card_exchange_ms,
    :decided_ms
)
