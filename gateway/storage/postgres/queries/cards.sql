-- Orders of cards, and conversations with them.

-- name: add_card_order
INSERT INTO card_orders (
    order_id, code_hash, wallet_id, batch_number, label, state, card_key_id, instrument_id, created_ms, expires_ms
) VALUES (
    :order_id, :code_hash, :wallet_id, :batch_number, :label, 'open', NULL, NULL, :created_ms, :expires_ms
)

-- name: find_card_order
SELECT * FROM card_orders WHERE code_hash = :code_hash

-- name: find_card_order_by_id
SELECT * FROM card_orders WHERE order_id = :order_id

-- name: lock_card_order
SELECT * FROM card_orders WHERE order_id = :order_id FOR UPDATE

-- name: list_card_orders
SELECT * FROM card_orders WHERE order_id > :after_id ORDER BY order_id LIMIT :rows_max

-- name: cancel_card_order
UPDATE card_orders SET state = 'cancelled' WHERE order_id = :order_id AND state = 'open'
RETURNING order_id

-- name: claim_card_order
UPDATE card_orders SET card_key_id = :card_key_id
WHERE order_id = :order_id AND state = 'open'
    AND (card_key_id = :card_key_id OR (card_key_id IS NULL AND expires_ms > :now_ms))
RETURNING order_id

-- name: finish_card_order
UPDATE card_orders SET state = 'done', instrument_id = :instrument_id
WHERE order_id = :order_id AND state = 'open' AND card_key_id = :card_key_id

-- name: renew_card
UPDATE instruments SET key_id = :key_id, card_key_version = :card_key_version, card_counter = :card_counter
WHERE instrument_id = :instrument_id AND key_id = :old_key_id
    AND (key_id <> :key_id OR card_counter < :card_counter)

-- name: find_instrument
SELECT * FROM instruments WHERE instrument_id = :instrument_id

-- name: add_card_session
INSERT INTO card_sessions (
    session_id, terminal_id, request_digest, step, state_sealed, created_ms, expires_ms
) VALUES (
    :session_id, :terminal_id, :request_digest, :step, :state_sealed, :created_ms, :expires_ms
)

-- name: forget_card_sessions
DELETE FROM card_sessions WHERE session_id IN (
    SELECT session_id FROM card_sessions WHERE expires_ms <= :now_ms ORDER BY expires_ms LIMIT :rows_max
)

-- name: end_oldest_card_sessions
DELETE FROM card_sessions WHERE session_id IN (
    SELECT session_id FROM card_sessions WHERE terminal_id = :terminal_id AND session_id <> :session_id
    ORDER BY created_ms DESC, session_id DESC LIMIT :rows_max OFFSET :sessions_max
)

-- name: find_card_session
SELECT * FROM card_sessions
WHERE session_id = :session_id AND terminal_id = :terminal_id AND expires_ms > :now_ms

-- name: advance_card_session
UPDATE card_sessions SET step = :step::bigint + 1, state_sealed = :state_sealed
WHERE session_id = :session_id AND terminal_id = :terminal_id AND step = :step::bigint AND expires_ms > :now_ms
RETURNING step

-- name: find_card_orders_by_card
SELECT * FROM card_orders WHERE card_key_id = ANY (:card_key_ids::bytea[])
