-- Who works at a merchant's tills, what proves it, and what they may do.

-- name: add_staff
INSERT INTO staff (staff_id, merchant_id, name, role, pin_hash, status, created_ms)
VALUES (:staff_id, :merchant_id, :name, :role, :pin_hash, :status, :created_ms)

-- name: list_staff
SELECT * FROM staff WHERE staff_id > :after_id ORDER BY staff_id LIMIT :rows_max

-- name: set_staff_pin
UPDATE staff SET pin_hash = :pin_hash, pin_tries = 0, pin_entry = NULL WHERE staff_id = :staff_id

-- name: set_staff_status
UPDATE staff SET status = :status WHERE staff_id = :staff_id

-- name: take_staff_try
UPDATE staff
SET pin_tries = pin_tries + CASE WHEN pin_entry IS NOT DISTINCT FROM :entry_mark::bytea THEN 0 ELSE 1 END,
    pin_entry = :entry_mark::bytea
WHERE staff_id = :staff_id AND status = 'active' AND (pin_tries < :tries_max OR pin_entry IS NOT DISTINCT FROM :entry_mark::bytea)
RETURNING *

-- name: find_staff
SELECT * FROM staff WHERE staff_id = :staff_id

-- name: reset_staff_tries
UPDATE staff SET pin_tries = 0, pin_entry = NULL WHERE staff_id = :staff_id

-- name: list_merchant_staff
SELECT * FROM staff
WHERE merchant_id = :merchant_id AND staff_id > :after_id AND status = 'active'
ORDER BY staff_id LIMIT :rows_max

-- name: add_staff_tag
-- A card that pays is nobody's tag: what a till reads of it could be sent as a payment.
INSERT INTO staff_tags (key_id, staff_id, card_key_batch, card_key_version, card_counter, created_ms)
SELECT :key_id::bytea, :staff_id::text, :card_key_batch::bigint, :card_key_version::bigint, 0, :created_ms::bigint
WHERE NOT EXISTS (SELECT 1 FROM instruments AS i WHERE i.key_id = :key_id::bytea)

-- name: remove_staff_tag
DELETE FROM staff_tags WHERE key_id = :key_id

-- name: list_staff_tags
SELECT * FROM staff_tags WHERE staff_id = :staff_id ORDER BY key_id LIMIT :rows_max

-- name: take_staff_tag
UPDATE staff_tags SET card_counter = :counter, last_entry = :entry_mark::bytea
WHERE key_id = :key_id
    AND (card_counter < :counter OR (card_counter = :counter AND last_entry IS NOT DISTINCT FROM :entry_mark::bytea))
    AND staff_id IN (SELECT s.staff_id FROM staff AS s WHERE s.staff_id = staff_tags.staff_id AND s.status = 'active')
RETURNING staff_id

-- name: set_staff_rights
INSERT INTO staff_rights (merchant_id, role, rights)
SELECT m.merchant_id, :role::text, :rights::text FROM merchants AS m WHERE m.merchant_id = :merchant_id
ON CONFLICT (merchant_id, role) DO UPDATE SET rights = excluded.rights

-- name: forget_staff_rights
DELETE FROM staff_rights WHERE merchant_id = :merchant_id AND role = :role

-- name: list_staff_rights
SELECT * FROM staff_rights WHERE merchant_id = :merchant_id ORDER BY role

-- name: list_payment_acts
SELECT s.at_ms, s.step AS act, s.charged_minor AS amount_minor, s.code, s.staff_id, f.name AS staff_name
FROM payment_steps AS s LEFT JOIN staff AS f ON f.staff_id = s.staff_id
WHERE s.payment_id = :payment_id
UNION ALL
SELECT r.refunded_ms, 'refunded', r.amount_minor, NULL, r.staff_id, f.name
FROM refunds AS r LEFT JOIN staff AS f ON f.staff_id = r.staff_id
WHERE r.payment_id = :payment_id
ORDER BY at_ms, act, amount_minor
