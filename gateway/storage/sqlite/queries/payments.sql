-- Attempts, decided and booked batch by batch. The guards of single use, limits and orders are the
-- statements' own. `:keys` is a list of keys, and `?1` the first value of a row
-- (gateway/storage/sqlite/queries.py).

-- name: find_attempt
SELECT * FROM payments_now WHERE attempt_id = :attempt_id AND terminal_id = :terminal_id

-- name: find_payment
SELECT p.* FROM payments_now AS p
WHERE p.payment_id = :payment_id
    AND p.merchant_id = (SELECT merchant_id FROM terminals WHERE terminal_id = :terminal_id)

-- name: list_attempts
WITH keys (attempt_id, terminal_id) AS (:keys)
SELECT p.attempt_id, p.terminal_id FROM keys CROSS JOIN payments AS p USING (attempt_id, terminal_id)

-- name: list_sites
WITH keys (terminal_id) AS (:keys)
SELECT t.terminal_id, t.status, t.merchant_id, m.status, m.name, m.fee_basis_points, m.receipt_count, l.name,
    m.tip_margin_basis_points,
    a.account_id, a.kind, a.currency, a.debits_must_not_exceed_credits, a.frozen,
    a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
FROM keys CROSS JOIN terminals AS t USING (terminal_id)
    CROSS JOIN merchants AS m USING (merchant_id) CROSS JOIN locations AS l USING (location_id)
    CROSS JOIN accounts AS a USING (account_id)

-- name: list_payers
WITH keys (instrument_id) AS (:keys)
SELECT i.instrument_id, i.key_id, i.label, i.status, i.weakest_entry_mode, i.per_payment_minor,
    i.per_day_minor, i.card_counter, w.wallet_id, i.confirm_above_minor,
    w.pin_hash IS NOT NULL AND w.pin_tries < 3,
    EXISTS (
        SELECT 1 FROM instruments AS x
        WHERE x.wallet_id = w.wallet_id AND x.kind = 'phone_key' AND x.status = 'active'
    ),
    t.confirm_above_minor, t.pin_max_minor, t.per_payment_minor, t.per_day_minor,
    a.account_id, a.kind, a.currency, a.debits_must_not_exceed_credits, a.frozen,
    a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
FROM keys CROSS JOIN instruments AS i USING (instrument_id) CROSS JOIN wallets AS w USING (wallet_id)
    CROSS JOIN accounts AS a USING (account_id)
    LEFT JOIN limit_tiers AS t ON t.currency = a.currency AND t.identity_level = w.identity_level

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
SELECT o.order_id, o.merchant_id, o.amount_minor, o.taken_minor
FROM keys CROSS JOIN orders AS o USING (order_id, merchant_id)

-- name: list_spent_days
WITH keys (day, instrument_id) AS (:keys)
SELECT s.day, s.instrument_id, s.spent_minor, s.recent_window, s.recent_count
FROM keys CROSS JOIN spent_days AS s USING (day, instrument_id)

-- name: list_wallet_days
-- Each key once: the last one of a list may stand in it several times.
WITH keys (day, wallet_id) AS (:keys), once AS (SELECT DISTINCT day, wallet_id FROM keys)
SELECT keys.day, keys.wallet_id, sum(s.spent_minor)
FROM once AS keys CROSS JOIN instruments AS i USING (wallet_id)
    CROSS JOIN spent_days AS s ON s.day = keys.day AND s.instrument_id = i.instrument_id
GROUP BY keys.day, keys.wallet_id

-- name: list_overspent_wallets
WITH keys (day, wallet_id) AS (:keys)
SELECT keys.wallet_id
FROM keys CROSS JOIN wallets AS w USING (wallet_id) CROSS JOIN accounts AS a USING (account_id)
    CROSS JOIN limit_tiers AS t ON t.currency = a.currency AND t.identity_level = w.identity_level
WHERE t.per_day_minor < (
    SELECT sum(s.spent_minor)
    FROM instruments AS i CROSS JOIN spent_days AS s ON s.instrument_id = i.instrument_id
    WHERE i.wallet_id = keys.wallet_id AND s.day = keys.day
)

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

-- name: take_order
INSERT INTO orders (order_id, merchant_id, amount_minor, taken_minor, details) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (order_id, merchant_id) DO UPDATE
SET taken_minor = taken_minor + excluded.taken_minor
WHERE amount_minor = excluded.amount_minor AND taken_minor + excluded.taken_minor <= amount_minor

-- name: take_allowance
INSERT INTO spent_days (day, instrument_id, spent_minor, payment_count, recent_window, recent_count)
SELECT ?1, i.instrument_id, ?3, ?7, ?8, ?9
FROM instruments AS i CROSS JOIN wallets AS w USING (wallet_id) CROSS JOIN accounts AS a USING (account_id)
    LEFT JOIN limit_tiers AS t ON t.currency = a.currency AND t.identity_level = w.identity_level
WHERE i.instrument_id = ?2
    AND i.status = 'active'
    AND ?4 <= i.per_payment_minor
    AND ?3 <= i.per_day_minor
    AND ?5 <= coalesce(i.confirm_above_minor, ?5)
    AND ?6 <= (SELECT weakness FROM entry_modes WHERE entry_mode = i.weakest_entry_mode)
    AND (t.currency IS NULL OR (?4 <= t.per_payment_minor AND ?5 <= t.confirm_above_minor))
ON CONFLICT (day, instrument_id) DO UPDATE
SET spent_minor = spent_minor + excluded.spent_minor,
    payment_count = payment_count + excluded.payment_count,
    recent_count = excluded.recent_count + iif(recent_window = excluded.recent_window, recent_count, 0),
    recent_window = excluded.recent_window
WHERE spent_minor + excluded.spent_minor
    <= (SELECT per_day_minor FROM instruments WHERE instrument_id = excluded.instrument_id)
    AND (recent_window <> excluded.recent_window OR recent_count <= coalesce(?10, recent_count))

-- name: take_receipt_numbers
UPDATE merchants SET receipt_count = receipt_count + ?2
WHERE merchant_id = ?1 AND status = 'active' AND receipt_count = ?3

-- name: add_payment
INSERT INTO payments (
    payment_id, attempt_id, request_digest, terminal_id, merchant_id, order_id, outcome, decline_code,
    amount_minor, tip_max_minor, fee_minor, currency, entry_mode, is_manual, confirm_code, confirm_ways,
    instrument_id, instrument_label, merchant_name, location_name, receipt_number, group_sequence,
    presented_ms, card_exchange_ms, decided_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: open_payment
INSERT INTO open_payments (payment_id, state, due_ms) VALUES (?, ?, ?)

-- name: add_terminal_event
INSERT INTO terminal_events (terminal_id, payment_id, at_ms) VALUES (?, ?, ?)
