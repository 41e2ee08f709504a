-- Merchants, terminals, wallets, instruments, codes.

-- name: add_merchant
INSERT INTO merchants (merchant_id, name, fee_basis_points, account_id, status, created_ms)
VALUES (:merchant_id, :name, :fee_basis_points, :account_id, :status, :created_ms)

-- name: list_merchants
SELECT m.*, a.currency
FROM merchants AS m JOIN accounts AS a USING (account_id)
WHERE m.merchant_id > :after_id ORDER BY m.merchant_id LIMIT :rows_max

-- name: add_location
INSERT INTO locations (location_id, merchant_id, name) VALUES (:location_id, :merchant_id, :name)

-- name: add_terminal
INSERT INTO terminals (
    terminal_id, merchant_id, location_id, status, key_id, public_key, software,
    code_hash, code_expires_ms, created_ms, enrolled_ms
) VALUES (
    :terminal_id, :merchant_id, :location_id, :status, :key_id, :public_key, :software,
    :code_hash, :code_expires_ms, :created_ms, :enrolled_ms
)

-- name: use_enrolment_code
UPDATE terminals
SET status = 'active', key_id = :key_id, public_key = :public_key, software = :software, enrolled_ms = :now_ms
WHERE code_hash = :code_hash AND status = 'pending' AND code_expires_ms > :now_ms

-- name: find_terminal_by_code_and_key
SELECT terminal_id FROM terminals WHERE code_hash = :code_hash AND key_id = :key_id AND status = 'active'

-- name: revoke_terminal
UPDATE terminals SET status = 'revoked' WHERE terminal_id = :terminal_id

-- name: find_enrolled_terminal_by_id
SELECT t.*, m.name AS merchant_name, m.fee_basis_points, m.account_id, m.status AS merchant_status,
    m.created_ms AS merchant_created_ms, a.currency, l.name AS location_name
FROM terminals AS t JOIN merchants AS m USING (merchant_id) JOIN accounts AS a USING (account_id)
    JOIN locations AS l USING (location_id)
WHERE t.terminal_id = :terminal_id

-- name: find_enrolled_terminal_by_key
SELECT t.*, m.name AS merchant_name, m.fee_basis_points, m.account_id, m.status AS merchant_status,
    m.created_ms AS merchant_created_ms, a.currency, l.name AS location_name
FROM terminals AS t JOIN merchants AS m USING (merchant_id) JOIN accounts AS a USING (account_id)
    JOIN locations AS l USING (location_id)
WHERE t.key_id = :key_id

-- name: list_enrolled_terminals
SELECT t.*, m.name AS merchant_name, m.fee_basis_points, m.account_id, m.status AS merchant_status,
    m.created_ms AS merchant_created_ms, a.currency, l.name AS location_name
FROM terminals AS t JOIN merchants AS m USING (merchant_id) JOIN accounts AS a USING (account_id)
    JOIN locations AS l USING (location_id)
WHERE t.terminal_id > :after_id ORDER BY t.terminal_id LIMIT :rows_max

-- name: add_wallet
INSERT INTO wallets (wallet_id, holder_name, account_id, created_ms)
VALUES (:wallet_id, :holder_name, :account_id, :created_ms)

-- name: find_wallet
SELECT w.wallet_id, w.holder_name, w.created_ms, a.*
FROM wallets AS w JOIN accounts AS a USING (account_id)
WHERE w.wallet_id = :wallet_id

-- name: list_wallets
SELECT w.wallet_id, w.holder_name, w.created_ms, a.*
FROM wallets AS w JOIN accounts AS a USING (account_id)
WHERE w.wallet_id > :after_id ORDER BY w.wallet_id LIMIT :rows_max

-- name: set_wallet_frozen
UPDATE accounts SET frozen = :frozen
WHERE account_id = (SELECT account_id FROM wallets WHERE wallet_id = :wallet_id)

-- name: add_instrument
INSERT INTO instruments (
    instrument_id, wallet_id, kind, label, status, key_id, public_key, weakest_entry_mode,
    per_payment_minor, per_day_minor, card_counter, card_key_batch, card_key_version, created_ms
)
SELECT :instrument_id, :wallet_id, :kind, :label, :status, :key_id, :public_key, :weakest_entry_mode,
    :per_payment_minor, :per_day_minor, :card_counter, :card_key_batch, :card_key_version,
    :created_ms
WHERE NOT EXISTS (SELECT 1 FROM staff_tags AS t WHERE t.key_id = :key_id)

-- name: find_instrument_by_key
SELECT * FROM instruments WHERE key_id = :key_id

-- name: find_instruments_by_keys
WITH keys (key_id) AS (:keys)
SELECT i.* FROM keys CROSS JOIN instruments AS i USING (key_id)

-- name: list_instruments
SELECT * FROM instruments WHERE instrument_id > :after_id ORDER BY instrument_id LIMIT :rows_max

-- name: set_instrument_status
UPDATE instruments SET status = :status WHERE instrument_id = :instrument_id

-- name: add_card_key_batch
INSERT INTO card_key_batches (batch_number, key_version, meta_key_sealed, file_master_sealed, created_ms)
SELECT :batch_number, :key_version, :meta_key_sealed, :file_master_sealed, :created_ms
WHERE (SELECT count(*) FROM card_key_batches) < :batches_max

-- name: list_card_key_batches
SELECT * FROM card_key_batches ORDER BY batch_number DESC, key_version DESC

-- name: use_nonce
INSERT INTO request_nonces (key_id, nonce, expires_ms) VALUES (:key_id, :nonce, :expires_ms)
ON CONFLICT (key_id, nonce) DO NOTHING

-- name: forget_nonces
WITH over (key_id, nonce) AS (
    SELECT key_id, nonce FROM request_nonces WHERE expires_ms <= :now_ms ORDER BY expires_ms LIMIT :rows_max
)
DELETE FROM request_nonces WHERE (key_id, nonce) IN over

-- name: withdraw_unused_codes
DELETE FROM payment_codes WHERE instrument_id = :instrument_id AND used_by IS NULL

-- name: add_payment_code
INSERT INTO payment_codes (code_hash, instrument_id, expires_ms)
VALUES (:code_hash, :instrument_id, :expires_ms)
ON CONFLICT (code_hash) DO UPDATE
SET instrument_id = excluded.instrument_id, expires_ms = excluded.expires_ms, used_by = NULL
WHERE expires_ms <= :now_ms

-- name: find_instrument_by_code
SELECT i.* FROM payment_codes AS c JOIN instruments AS i USING (instrument_id)
WHERE c.code_hash = :code_hash AND c.expires_ms > :now_ms

-- name: check_health
UPDATE health SET check_count = check_count + 1
