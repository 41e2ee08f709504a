-- Credentials, and the records accepted under them; each word on a record is one transaction, under the chain's
-- lock. Why lookups stand apart with OFFSET 0: migrations/0002_booking.sql.

-- name: find_credential
SELECT c.*, a.currency, a.credits_posted - a.debits_posted - a.debits_pending AS left_minor
FROM credentials AS c
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = c.account_id OFFSET 0) AS a
WHERE c.credential_id = :credential_id

-- name: find_credential_by_tag
SELECT c.*, a.currency, a.credits_posted - a.debits_posted - a.debits_pending AS left_minor
FROM credentials AS c
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = c.account_id OFFSET 0) AS a
WHERE c.tag = :tag

-- name: find_holder
SELECT i.status, w.account_id AS wallet_account_id, a.currency,
    (
        SELECT count(*) FROM credentials AS c
        WHERE c.instrument_id = i.instrument_id AND c.state <> 'ended'
    ) AS open_count
FROM instruments AS i
    CROSS JOIN LATERAL (SELECT * FROM wallets AS x WHERE x.wallet_id = i.wallet_id OFFSET 0) AS w
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = w.account_id OFFSET 0) AS a
WHERE i.instrument_id = :instrument_id

-- name: find_free_index
-- The first free one above the last that was given, else the first free one of all.
WITH candidates (status_index) AS (
    SELECT last_index + 1 FROM status_indexes
    UNION SELECT 0
    UNION SELECT status_index + 1 FROM credentials WHERE state <> 'ended'
)
SELECT n.status_index FROM candidates AS n CROSS JOIN status_indexes AS s
WHERE n.status_index <= 65535
    AND NOT EXISTS (
        SELECT 1 FROM credentials AS c WHERE c.status_index = n.status_index AND c.state <> 'ended'
    )
ORDER BY n.status_index <= s.last_index, n.status_index LIMIT 1

-- name: give_index
UPDATE status_indexes SET last_index = :status_index

-- name: replace_live
UPDATE credentials SET state = 'replaced' WHERE instrument_id = :instrument_id AND state = 'live'

-- name: add_credential
INSERT INTO credentials (
    credential_id, request_digest, instrument_id, tag, account_id, status_index, allowance_minor,
    per_payment_minor, issued_ms, expires_ms, ends_ms, state
)
SELECT :credential_id::text, :request_digest::bytea, i.instrument_id, :tag::bytea, :account_id::bytea,
    :status_index::integer, :allowance_minor::bigint, :per_payment_minor::bigint, :issued_ms::bigint,
    :expires_ms::bigint, :ends_ms::bigint, 'live'
FROM instruments AS i WHERE i.instrument_id = :instrument_id AND i.status = 'active'

-- name: list_credentials
SELECT c.*, a.currency, a.credits_posted - a.debits_posted - a.debits_pending AS left_minor
FROM credentials AS c
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = c.account_id OFFSET 0) AS a
WHERE c.credential_id > :after_id ORDER BY c.credential_id LIMIT :rows_max

-- name: list_due_credentials
SELECT credential_id FROM credentials
WHERE state <> 'ended' AND ends_ms <= :now_ms AND credential_id > :after_id
ORDER BY credential_id LIMIT :rows_max

-- name: find_ending
SELECT c.state, c.ends_ms, c.account_id, w.account_id AS wallet_account_id, a.currency,
    a.credits_posted - a.debits_posted - a.debits_pending AS left_minor
FROM credentials AS c
    CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = c.account_id OFFSET 0) AS a
    CROSS JOIN LATERAL (SELECT * FROM instruments AS x WHERE x.instrument_id = c.instrument_id OFFSET 0) AS i
    CROSS JOIN LATERAL (SELECT * FROM wallets AS x WHERE x.wallet_id = i.wallet_id OFFSET 0) AS w
WHERE c.credential_id = :credential_id

-- name: end_credential
UPDATE credentials SET state = 'ended'
WHERE credential_id = :credential_id AND state <> 'ended' AND ends_ms <= :now_ms

-- name: list_suspended
SELECT c.status_index, c.listed_ms
FROM instruments AS i
    CROSS JOIN LATERAL (SELECT * FROM credentials AS x WHERE x.instrument_id = i.instrument_id OFFSET 0) AS c
WHERE i.status = 'suspended' AND c.state <> 'ended' ORDER BY c.status_index

-- name: count_wrongly_listed
SELECT count(*) AS wrong_count FROM credentials AS c
    CROSS JOIN LATERAL (SELECT * FROM instruments AS x WHERE x.instrument_id = c.instrument_id OFFSET 0) AS i
WHERE c.listed_ms IS NOT NULL AND i.status <> 'suspended'

-- name: note_listed
UPDATE credentials SET listed_ms = :now_ms
WHERE listed_ms IS NULL AND state <> 'ended'
    AND instrument_id IN (SELECT instrument_id FROM instruments WHERE status = 'suspended')

-- name: note_unlisted
UPDATE credentials SET listed_ms = NULL
WHERE listed_ms IS NOT NULL
    AND instrument_id NOT IN (SELECT instrument_id FROM instruments WHERE status = 'suspended')

-- name: find_record
SELECT * FROM offline_records WHERE terminal_id = :terminal_id AND sequence = :sequence

-- name: find_links
SELECT
    (
        SELECT link FROM offline_records WHERE terminal_id = :terminal_id AND sequence = :sequence::bigint - 1
    ) AS link_before,
    (
        SELECT previous_link FROM offline_records
        WHERE terminal_id = :terminal_id AND sequence = :sequence::bigint + 1
    ) AS link_expected_after,
    (SELECT payment_id FROM token_uses WHERE key_id = :key_id AND counter = :counter) AS used_by

-- name: list_seen
-- The nearest claims of a key under one credential: by counter, and of those paid at one terminal by sequence. What
-- was paid online by the same attempt is none of these: it rises with nothing, so more could be taken after it.
SELECT 'below' AS place, b.counter, b.running_total_minor, b.amount_minor
FROM (
    SELECT * FROM offline_records
    WHERE key_id = :key_id AND counter < :counter AND credential_id = :credential_id
    ORDER BY counter DESC LIMIT 1
) AS b
UNION ALL
SELECT 'above', a.counter, a.running_total_minor, a.amount_minor
FROM (
    SELECT * FROM offline_records
    WHERE key_id = :key_id AND counter > :counter AND credential_id = :credential_id
    ORDER BY counter LIMIT 1
) AS a
UNION ALL
SELECT 'till_before', e.counter, e.running_total_minor, e.amount_minor
FROM (
    SELECT * FROM offline_records
    WHERE terminal_id = :terminal_id AND key_id = :key_id AND sequence < :sequence
        AND credential_id = :credential_id AND outcome = 'settled' AND has_payment
    ORDER BY sequence DESC LIMIT 1
) AS e
UNION ALL
SELECT 'till_after', l.counter, l.running_total_minor, l.amount_minor
FROM (
    SELECT * FROM offline_records
    WHERE terminal_id = :terminal_id AND key_id = :key_id AND sequence > :sequence
        AND credential_id = :credential_id AND outcome = 'settled' AND has_payment
    ORDER BY sequence LIMIT 1
) AS l

-- name: add_record
INSERT INTO offline_records (
    terminal_id, sequence, link, previous_link, sealed, attempt_id, payment_id, has_payment, outcome, code,
    amount_minor, currency, loss_minor, loss_bearer, credential_id, key_id, counter, running_total_minor,
    accepted_ms, received_ms
) VALUES (
    :terminal_id, :sequence, :link, :previous_link, :sealed, :attempt_id, :payment_id, :has_payment, :outcome,
    :code, :amount_minor, :currency, :loss_minor, :loss_bearer, :credential_id, :key_id, :counter,
    :running_total_minor, :accepted_ms, :received_ms
)

-- name: suspend_key
UPDATE instruments SET status = 'suspended' WHERE key_id = :key_id

-- name: count_day
-- What was spent is counted; whether that is within limits was settled when the allowance was set aside.
INSERT INTO spent_days AS s (day, instrument_id, spent_minor, payment_count)
VALUES (:day, :instrument_id, :amount_minor, 1)
ON CONFLICT (day, instrument_id) DO UPDATE
SET spent_minor = s.spent_minor + excluded.spent_minor, payment_count = s.payment_count + 1

-- name: add_alarm
INSERT INTO offline_alarms (terminal_id, sequence, kind, link, payment_id, instrument_id, at_ms)
VALUES (:terminal_id, :sequence, :kind, :link, :payment_id, :instrument_id, :at_ms)
ON CONFLICT DO NOTHING

-- name: find_last_sequence
SELECT coalesce(max(sequence), 0) AS sequence FROM offline_records WHERE terminal_id = :terminal_id

-- name: list_alarms
SELECT * FROM offline_alarms ORDER BY at_ms DESC, terminal_id, sequence LIMIT :rows_max

-- name: list_losses
SELECT * FROM offline_records WHERE loss_minor > 0
ORDER BY received_ms DESC, terminal_id, sequence LIMIT :rows_max
