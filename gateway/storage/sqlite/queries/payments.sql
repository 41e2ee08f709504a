-- Attempts, decided and booked batch by batch. The guards of single use, limits and orders are the
-- statements' own. `:keys` is a list of keys, and `?1` the first value of a row
-- (gateway/storage/sqlite/queries.py).

-- name: find_attempt
SELECT * FROM payments WHERE attempt_id = :attempt_id AND terminal_id = :terminal_id

-- name: find_payment
SELECT p.* FROM payments AS p JOIN terminals AS t USING (merchant_id)
WHERE p.payment_id = :payment_id AND t.terminal_id = :terminal_id

-- name: list_attempts
WITH keys (attempt_id, terminal_id) AS (:keys)
SELECT p.* FROM keys CROSS JOIN payments AS p USING (attempt_id, terminal_id)

-- name: list_sites
WITH keys (terminal_id) AS (:keys)
SELECT t.terminal_id, t.status, t.merchant_id, m.status, m.name, m.fee_basis_points, m.receipt_count, l.name,
    a.account_id, a.kind, a.currency, a.debits_must_not_exceed_credits, a.frozen,
    a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
FROM keys CROSS JOIN terminals AS t USING (terminal_id)
    CROSS JOIN merchants AS m USING (merchant_id) CROSS JOIN locations AS l USING (location_id)
    CROSS JOIN accounts AS a USING (account_id)

-- name: list_payers
WITH keys (instrument_id) AS (:keys)
SELECT i.instrument_id, i.key_id, i.label, i.status, i.weakest_entry_mode, i.per_payment_minor,
    i.per_day_minor, i.card_counter,
    a.account_id, a.kind, a.currency, a.debits_must_not_exceed_credits, a.frozen,
    a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
FROM keys CROSS JOIN instruments AS i USING (instrument_id) CROSS JOIN wallets AS w USING (wallet_id)
    CROSS JOIN accounts AS a USING (account_id)

-- name: list_token_uses
WITH keys (key_id, counter) AS (:keys)
SELECT u.key_id, u.counter, u.claims_digest FROM keys CROSS JOIN token_uses AS u USING (key_id, counter)

-- name: list_terminal_nonces
WITH keys (nonce_day, terminal_nonce, terminal_id) AS (:keys)
SELECT u.terminal_nonce, u.terminal_id
FROM keys CROSS JOIN token_uses AS u USING (nonce_day, terminal_nonce, terminal_id)

-- name: list_codes
WITH keys (code_hash) AS (:keys)
SELECT c.code_hash, c.expires_ms, c.used_by IS NOT NULL
FROM keys CROSS JOIN payment_codes AS c USING (code_hash)

-- name: list_orders
WITH keys (order_id, merchant_id) AS (:keys)
SELECT o.order_id, o.merchant_id, o.amount_minor, o.approved_minor
FROM keys CROSS JOIN orders AS o USING (order_id, merchant_id)

-- name: list_spent_days
WITH keys (day, instrument_id) AS (:keys)
SELECT s.day, s.instrument_id, s.spent_minor
FROM keys CROSS JOIN spent_days AS s USING (day, instrument_id)

-- name: list_withdrawn_terminals
WITH keys (terminal_id) AS (:keys)
SELECT t.terminal_id FROM keys CROSS JOIN terminals AS t USING (terminal_id) WHERE t.status <> 'active'

-- name: spend_token
INSERT INTO token_uses (
    key_id, counter, claims_digest, terminal_id, terminal_nonce, nonce_day, payment_id
) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: suspend_key
UPDATE instruments SET status = 'suspended' WHERE key_id = ?1

-- name: raise_card_counter
UPDATE instruments SET card_counter = ?3 WHERE instrument_id = ?1 AND card_counter < ?2

-- name: spend_code
UPDATE payment_codes SET used_by = ?2 WHERE code_hash = ?1 AND used_by IS NULL AND expires_ms > ?3

-- name: approve_order
INSERT INTO orders (order_id, merchant_id, amount_minor, approved_minor) VALUES (?, ?, ?, ?)
ON CONFLICT (order_id, merchant_id) DO UPDATE
SET approved_minor = approved_minor + excluded.approved_minor
WHERE approved_minor + excluded.approved_minor <= amount_minor

-- name: take_allowance
INSERT INTO spent_days (day, instrument_id, spent_minor)
SELECT ?1, i.instrument_id, ?3
FROM instruments AS i
WHERE i.instrument_id = ?2
    AND i.status = 'active'
    AND ?4 <= i.per_payment_minor
    AND ?3 <= i.per_day_minor
    AND ?5 <= (SELECT weakness FROM entry_modes WHERE entry_mode = i.weakest_entry_mode)
ON CONFLICT (day, instrument_id) DO UPDATE
SET spent_minor = spent_minor + excluded.spent_minor
WHERE spent_minor + excluded.spent_minor
    <= (SELECT per_day_minor FROM instruments WHERE instrument_id = excluded.instrument_id)

-- name: take_receipt_numbers
UPDATE merchants SET receipt_count = receipt_count + ?2
WHERE merchant_id = ?1 AND status = 'active' AND receipt_count = ?3

-- name: add_payment
INSERT INTO payments (
    payment_id, attempt_id, request_digest, terminal_id, merchant_id, order_id, outcome, decline_code,
    amount_minor, currency, entry_mode, instrument_id, instrument_label, merchant_name, location_name,
    receipt_number, group_sequence, presented_ms, card_exchange_ms, decided_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
