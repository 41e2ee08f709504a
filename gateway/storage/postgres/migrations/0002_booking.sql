-- How a batch is read and written: one call each (docs/adr/0005). Rules stand in gateway/ledger and
-- gateway/payments; here are lookups and guards.
--
-- Plans are made once a connection and must do for tables of any size, also when they were made while a table
-- was all but empty. Hence the settings of our connections (database.py); and hence each lookup stands in a
-- LATERAL subquery with OFFSET 0, which the planner does not mingle with the rest: what remains to it is the
-- index. An UPDATE finds its rows so too, and then goes to them by their ctid; a row that somebody else has
-- changed in between is not found any more, which is a guard that refuses.

-- What an attempt names.
CREATE TYPE attempt_keys AS (
    attempt_id text, terminal_id text, instrument_id text, order_id text, merchant_id text, day integer,
    fee_account_id bytea, token_key_id bytea, token_counter bigint, terminal_nonce bytea, code_hash bytea
);

-- What all instruments of a wallet spent on a day.
CREATE FUNCTION spent_of_wallet(of_wallet_id text, of_day integer) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(s.spent_minor), 0)::bigint
    FROM (SELECT * FROM instruments AS x WHERE x.wallet_id = of_wallet_id OFFSET 0) AS i
        CROSS JOIN LATERAL (
            SELECT * FROM spent_days AS x WHERE x.day = of_day AND x.instrument_id = i.instrument_id OFFSET 0
        ) AS s
$$;

-- Everything stored about the attempts of a batch, a row for each, in the order given.
CREATE FUNCTION payment_facts(attempts attempt_keys[], now_ms bigint) RETURNS TABLE (
    is_known boolean, holds_are_due boolean,
    terminal_status text, merchant_id text, merchant_status text, merchant_name text,
    merchant_account_id bytea, fee_basis_points integer, tip_margin_basis_points integer, location_name text,
    key_id bytea, label text, instrument_status text, weakest_entry_mode text,
    per_payment_minor bigint, per_day_minor bigint, card_counter bigint, confirm_above_minor bigint,
    wallet_id text, has_pin boolean, has_phone boolean,
    tier_confirm_above_minor bigint, tier_pin_max_minor bigint,
    tier_per_payment_minor bigint, tier_per_day_minor bigint, wallet_spent_minor bigint,
    wallet_account_id bytea,
    wallet_currency text, wallet_is_bounded boolean, wallet_frozen boolean,
    wallet_debits_pending bigint, wallet_debits_posted bigint,
    wallet_credits_pending bigint, wallet_credits_posted bigint,
    merchant_currency text, merchant_is_bounded boolean, merchant_frozen boolean,
    merchant_debits_pending bigint, merchant_debits_posted bigint,
    merchant_credits_pending bigint, merchant_credits_posted bigint,
    fees_currency text, fees_is_bounded boolean, fees_frozen boolean,
    fees_debits_pending bigint, fees_debits_posted bigint,
    fees_credits_pending bigint, fees_credits_posted bigint,
    claims_digest bytea, nonce_is_known boolean,
    code_expires_ms bigint, code_is_used boolean,
    order_minor bigint, order_taken_minor bigint,
    spent_minor bigint, recent_window integer, recent_count integer
)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    -- Rows that every payment moves are looked up once a batch rather than once a payment: while somebody holds
    -- an old snapshot (a dump, an audit) each lookup passes by all of their versions since then.
    WITH shops AS MATERIALIZED (
        SELECT m.merchant_id, m.status, m.name, m.account_id, m.fee_basis_points, m.tip_margin_basis_points,
            a.currency, a.debits_must_not_exceed_credits, a.frozen,
            a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
        FROM (SELECT DISTINCT merchant_id FROM unnest(attempts)) AS k
            CROSS JOIN LATERAL (
                SELECT * FROM merchants AS x WHERE x.merchant_id = k.merchant_id OFFSET 0
            ) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM accounts AS x WHERE x.account_id = m.account_id OFFSET 0
            ) AS a
    ),
    fees AS MATERIALIZED (
        SELECT a.*
        FROM (SELECT DISTINCT fee_account_id FROM unnest(attempts)) AS k
            CROSS JOIN LATERAL (
                SELECT * FROM accounts AS x WHERE x.account_id = k.fee_account_id OFFSET 0
            ) AS a
    )
    SELECT
        p.payment_id IS NOT NULL,
        EXISTS (SELECT FROM pendings AS due WHERE due.state = 'open' AND due.expires_ms <= now_ms),
        t.status, t.merchant_id, m.status, m.name, m.account_id, m.fee_basis_points,
        m.tip_margin_basis_points, l.name,
        i.key_id, i.label, i.status, i.weakest_entry_mode, i.per_payment_minor, i.per_day_minor,
        i.card_counter, i.confirm_above_minor,
        w.wallet_id, w.pin_hash IS NOT NULL AND w.pin_tries < 3,
        EXISTS (
            SELECT FROM (SELECT * FROM instruments AS x WHERE x.wallet_id = w.wallet_id OFFSET 0) AS own
            WHERE own.kind = 'phone_key' AND own.status = 'active'
        ),
        lt.confirm_above_minor, lt.pin_max_minor, lt.per_payment_minor, lt.per_day_minor,
        CASE WHEN lt.currency IS NOT NULL THEN spent_of_wallet(w.wallet_id, b.day) END,
        wa.account_id,
        wa.currency, wa.debits_must_not_exceed_credits, wa.frozen,
        wa.debits_pending, wa.debits_posted, wa.credits_pending, wa.credits_posted,
        m.currency, m.debits_must_not_exceed_credits, m.frozen,
        m.debits_pending, m.debits_posted, m.credits_pending, m.credits_posted,
        fa.currency, fa.debits_must_not_exceed_credits, fa.frozen,
        fa.debits_pending, fa.debits_posted, fa.credits_pending, fa.credits_posted,
        u.claims_digest, n.terminal_id IS NOT NULL,
        c.expires_ms, c.used_by IS NOT NULL,
        o.amount_minor, o.taken_minor, s.spent_minor, s.recent_window, s.recent_count
    FROM unnest(attempts) WITH ORDINALITY AS b (
            attempt_id, terminal_id, instrument_id, order_id, merchant_id, day, fee_account_id,
            token_key_id, token_counter, terminal_nonce, code_hash, place
        )
        LEFT JOIN LATERAL (
            SELECT * FROM payments AS x
            WHERE x.attempt_id = b.attempt_id AND x.terminal_id = b.terminal_id OFFSET 0
        ) AS p ON true
        LEFT JOIN LATERAL (
            SELECT * FROM terminals AS x WHERE x.terminal_id = b.terminal_id OFFSET 0
        ) AS t ON true
        LEFT JOIN shops AS m ON m.merchant_id = t.merchant_id
        LEFT JOIN LATERAL (
            SELECT * FROM locations AS x WHERE x.location_id = t.location_id OFFSET 0
        ) AS l ON true
        LEFT JOIN LATERAL (
            SELECT * FROM instruments AS x WHERE x.instrument_id = b.instrument_id OFFSET 0
        ) AS i ON true
        LEFT JOIN LATERAL (SELECT * FROM wallets AS x WHERE x.wallet_id = i.wallet_id OFFSET 0) AS w ON true
        LEFT JOIN LATERAL (
            SELECT * FROM accounts AS x WHERE x.account_id = w.account_id OFFSET 0
        ) AS wa ON true
        LEFT JOIN LATERAL (
            SELECT * FROM limit_tiers AS x
            WHERE x.currency = wa.currency AND x.identity_level = w.identity_level OFFSET 0
        ) AS lt ON true
        LEFT JOIN fees AS fa ON fa.account_id = b.fee_account_id
        LEFT JOIN LATERAL (
            SELECT * FROM token_uses AS x
            WHERE x.key_id = b.token_key_id AND x.counter = b.token_counter OFFSET 0
        ) AS u ON true
        LEFT JOIN LATERAL (
            SELECT * FROM token_uses AS x
            WHERE x.nonce_day = ANY (ARRAY[b.day, b.day - 1])
                AND x.terminal_nonce = b.terminal_nonce AND x.terminal_id = b.terminal_id
            LIMIT 1
        ) AS n ON true
        LEFT JOIN LATERAL (
            SELECT * FROM payment_codes AS x WHERE x.code_hash = b.code_hash OFFSET 0
        ) AS c ON true
        LEFT JOIN LATERAL (
            SELECT * FROM orders AS x WHERE x.order_id = b.order_id AND x.merchant_id = b.merchant_id OFFSET 0
        ) AS o ON true
        LEFT JOIN LATERAL (
            SELECT * FROM spent_days AS x WHERE x.day = b.day AND x.instrument_id = b.instrument_id OFFSET 0
        ) AS s ON true
    ORDER BY b.place;
END
$$;

-- Rows of what a batch changes: AccountChange of gateway/ledger/workbook.py, and so on.
CREATE TYPE group_change AS (purpose text, booked_ms bigint, leg_count smallint, body bytea);
CREATE TYPE leg_change AS (
    group_index integer, leg_index smallint, transfer_id bytea, kind text, debit_account_id bytea,
    credit_account_id bytea, amount_minor bigint, currency text, pending_id bytea, expires_ms bigint
);
CREATE TYPE account_change AS (
    account_id bytea, currency text, debits_pending bigint, debits_posted bigint, credits_pending bigint,
    credits_posted bigint, needed_minor bigint, needs_unfrozen boolean
);
CREATE TYPE pending_end AS (transfer_id bytea, state text, now_ms bigint, is_over boolean);
CREATE TYPE token_spent AS (
    key_id bytea, counter bigint, claims_digest bytea, terminal_id text, terminal_nonce bytea,
    nonce_day integer, payment_id text
);
CREATE TYPE code_spent AS (code_hash bytea, payment_id text, now_ms bigint);
CREATE TYPE card_change AS (instrument_id text, below bigint, counter bigint);
CREATE TYPE order_change AS (
    order_id text, merchant_id text, amount_minor bigint, taken_minor bigint, details bytea
);
CREATE TYPE day_change AS (
    day integer, instrument_id text, spent_minor bigint, largest_minor bigint, largest_unconfirmed_minor bigint,
    weakest_entry_mode text, payment_count integer, recent_window integer, recent_count integer,
    recent_before_max integer
);
CREATE TYPE wallet_day AS (day integer, wallet_id text);
CREATE TYPE receipt_change AS (merchant_id text, new_count bigint);
CREATE TYPE payment_change AS (
    payment_id text, attempt_id text, request_digest bytea, terminal_id text, merchant_id text, order_id text,
    outcome text, decline_code text, amount_minor bigint, tip_max_minor bigint, fee_minor bigint,
    currency text, entry_mode text, is_manual boolean, confirm_code text, confirm_ways text, due_ms bigint,
    instrument_id text, instrument_label text, merchant_name text, location_name text, receipt_place integer,
    receipt_index bigint, group_index integer, presented_ms bigint, card_exchange_ms bigint, decided_ms bigint
);

-- Write what a batch changes, whole or not at all.
-- Raises TS001, with the name of the guard, when a guard refuses: the facts were no longer so, or a unique
-- key was taken meanwhile (23505). Everything is undone then, and the caller reads and decides anew.
-- group_index counts from 1 in the order of the groups, receipt_place from 1 in the order of the receipts.
CREATE FUNCTION book_batch(
    group_changes group_change[], leg_changes leg_change[], account_changes account_change[],
    counter_max bigint, pending_ends pending_end[], active_terminal_ids text[], tokens_spent token_spent[],
    codes_spent code_spent[], card_changes card_change[], suspended_key_ids bytea[],
    order_changes order_change[], day_changes day_change[], wallet_days wallet_day[], receipt_changes receipt_change[],
    payment_changes payment_change[],
    OUT first_sequence bigint, OUT receipt_counts bigint[]
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    head_sequence bigint;
    head_hash bytea;
    head_place tid;
    added group_change;
    group_hashes bytea[] := '{}';
    changed_count bigint;
    -- Names for constants, so that no plan takes a partial index for the way to a single row.
    still_open CONSTANT text := 'open';
    nobody CONSTANT text := '';
    -- As the table entry_modes orders them, strongest first.
    modes CONSTANT text[] := ARRAY['nfc_app', 'qr_merchant', 'qr_consumer', 'nfc_sdm', 'code_numeric'];
BEGIN
    SELECT h.sequence, h.hash, h.ctid INTO STRICT head_sequence, head_hash, head_place
    FROM chain_head AS h WHERE h.only_row = 1 FOR UPDATE;
    first_sequence := head_sequence + 1;

    IF EXISTS (
        SELECT FROM unnest(active_terminal_ids) AS a (terminal_id)
            LEFT JOIN LATERAL (
                SELECT * FROM terminals AS x WHERE x.terminal_id = a.terminal_id OFFSET 0
            ) AS t ON true
        WHERE t.status IS DISTINCT FROM 'active'
    ) THEN
        RAISE EXCEPTION 'terminals' USING ERRCODE = 'TS001';
    END IF;

    IF cardinality(group_changes) > 0 THEN
        -- As gateway/ledger/chain.py: the hash before, the sequence, and what the group is.
        FOREACH added IN ARRAY group_changes LOOP
            head_sequence := head_sequence + 1;
            head_hash := sha256(head_hash || int8send(head_sequence) || added.body);
            group_hashes := array_append(group_hashes, head_hash);
        END LOOP;
        UPDATE chain_head SET sequence = head_sequence, hash = head_hash WHERE ctid = head_place;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'chain_head' USING ERRCODE = 'TS001';
        END IF;

        INSERT INTO ledger_groups (sequence, purpose, booked_ms, leg_count, hash)
        SELECT first_sequence - 1 + g.place, g.purpose, g.booked_ms, g.leg_count, g.hash
        FROM ROWS FROM (unnest(group_changes), unnest(group_hashes)) WITH ORDINALITY
            AS g (purpose, booked_ms, leg_count, body, hash, place);

        INSERT INTO transfers (
            group_sequence, leg_index, transfer_id, kind, debit_account_id, credit_account_id,
            amount_minor, currency, pending_id, expires_ms
        )
        SELECT first_sequence - 1 + l.group_index, l.leg_index, l.transfer_id, l.kind, l.debit_account_id,
            l.credit_account_id, l.amount_minor, l.currency, l.pending_id, l.expires_ms
        FROM unnest(leg_changes) AS l;

        INSERT INTO pendings (transfer_id, expires_ms, state)
        SELECT l.transfer_id, l.expires_ms, still_open FROM unnest(leg_changes) AS l WHERE l.kind = 'pending';
    END IF;

    IF cardinality(pending_ends) > 0 THEN
        UPDATE pendings AS p SET state = e.state
        FROM unnest(pending_ends) AS e,
            LATERAL (
                SELECT x.ctid AS place FROM pendings AS x WHERE x.transfer_id = e.transfer_id OFFSET 0
            ) AS found
        WHERE p.ctid = found.place AND p.state = still_open AND (p.expires_ms <= e.now_ms) = e.is_over;
        GET DIAGNOSTICS changed_count = ROW_COUNT;
        IF changed_count <> cardinality(pending_ends) THEN
            RAISE EXCEPTION 'pendings' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    -- After the holds, which nobody ends twice: so no counter of held money falls below zero.
    UPDATE accounts AS a
    SET debits_pending = a.debits_pending + c.debits_pending,
        debits_posted = a.debits_posted + c.debits_posted,
        credits_pending = a.credits_pending + c.credits_pending,
        credits_posted = a.credits_posted + c.credits_posted
    FROM unnest(account_changes) AS c,
        LATERAL (
            SELECT x.ctid AS place FROM accounts AS x WHERE x.account_id = c.account_id OFFSET 0
        ) AS found
    WHERE a.ctid = found.place
        AND a.currency = c.currency
        AND NOT (a.frozen AND c.needs_unfrozen)
        AND (
            NOT a.debits_must_not_exceed_credits
            OR a.credits_posted - a.debits_posted - a.debits_pending >= c.needed_minor
        )
        AND a.debits_pending + a.debits_posted + c.debits_pending + c.debits_posted <= counter_max
        AND a.credits_pending + a.credits_posted + c.credits_pending + c.credits_posted <= counter_max;
    GET DIAGNOSTICS changed_count = ROW_COUNT;
    IF changed_count <> cardinality(account_changes) THEN
        RAISE EXCEPTION 'accounts' USING ERRCODE = 'TS001';
    END IF;

    IF cardinality(tokens_spent) > 0 THEN
        INSERT INTO token_uses (
            key_id, counter, claims_digest, terminal_id, terminal_nonce, nonce_day, payment_id
        )
        SELECT * FROM unnest(tokens_spent);
    END IF;

    IF cardinality(codes_spent) > 0 THEN
        -- In this order, as whoever adds a code locks them too.
        PERFORM FROM (SELECT u.code_hash FROM unnest(codes_spent) AS u ORDER BY 1) AS k,
            LATERAL (SELECT FROM payment_codes AS x WHERE x.code_hash = k.code_hash FOR UPDATE) AS locked;
        UPDATE payment_codes AS c SET used_by = u.payment_id
        FROM unnest(codes_spent) AS u,
            LATERAL (
                SELECT x.ctid AS place FROM payment_codes AS x WHERE x.code_hash = u.code_hash OFFSET 0
            ) AS found
        WHERE c.ctid = found.place AND coalesce(c.used_by, nobody) = nobody AND c.expires_ms > u.now_ms;
        GET DIAGNOSTICS changed_count = ROW_COUNT;
        IF changed_count <> cardinality(codes_spent) THEN
            RAISE EXCEPTION 'codes' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    IF cardinality(card_changes) > 0 THEN
        UPDATE instruments AS i SET card_counter = c.counter
        FROM unnest(card_changes) AS c,
            LATERAL (
                SELECT x.ctid AS place FROM instruments AS x WHERE x.instrument_id = c.instrument_id OFFSET 0
            ) AS found
        WHERE i.ctid = found.place AND i.card_counter < c.below;
        GET DIAGNOSTICS changed_count = ROW_COUNT;
        IF changed_count <> cardinality(card_changes) THEN
            RAISE EXCEPTION 'cards' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    IF cardinality(order_changes) > 0 THEN
        INSERT INTO orders AS o (order_id, merchant_id, amount_minor, taken_minor, details)
        SELECT * FROM unnest(order_changes)
        ON CONFLICT (order_id, merchant_id) DO UPDATE
        SET taken_minor = o.taken_minor + excluded.taken_minor
        WHERE o.amount_minor = excluded.amount_minor AND o.taken_minor + excluded.taken_minor <= o.amount_minor;
        GET DIAGNOSTICS changed_count = ROW_COUNT;
        IF changed_count <> cardinality(order_changes) THEN
            RAISE EXCEPTION 'orders' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    IF cardinality(day_changes) > 0 THEN
        INSERT INTO spent_days AS s (
            day, instrument_id, spent_minor, payment_count, recent_window, recent_count
        )
        SELECT n.day, i.instrument_id, n.spent_minor, n.payment_count, n.recent_window, n.recent_count
        FROM unnest(day_changes) AS n
            CROSS JOIN LATERAL (
                SELECT * FROM instruments AS x WHERE x.instrument_id = n.instrument_id OFFSET 0
            ) AS i
            CROSS JOIN LATERAL (SELECT * FROM wallets AS x WHERE x.wallet_id = i.wallet_id OFFSET 0) AS w
            CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = w.account_id OFFSET 0) AS a
            LEFT JOIN LATERAL (
                SELECT * FROM limit_tiers AS x
                WHERE x.currency = a.currency AND x.identity_level = w.identity_level OFFSET 0
            ) AS t ON true
        WHERE i.status = 'active'
            AND array_position(modes, n.weakest_entry_mode) <= array_position(modes, i.weakest_entry_mode)
            AND n.largest_minor <= i.per_payment_minor
            AND n.spent_minor <= i.per_day_minor
            AND n.largest_unconfirmed_minor <= coalesce(i.confirm_above_minor, n.largest_unconfirmed_minor)
            AND (
                t.currency IS NULL
                OR (
                    n.largest_minor <= t.per_payment_minor
                    AND n.largest_unconfirmed_minor <= t.confirm_above_minor
                )
            )
        ON CONFLICT (day, instrument_id) DO UPDATE
        SET spent_minor = s.spent_minor + excluded.spent_minor,
            payment_count = s.payment_count + excluded.payment_count,
            recent_count = excluded.recent_count
                + CASE WHEN s.recent_window = excluded.recent_window THEN s.recent_count ELSE 0 END,
            recent_window = excluded.recent_window
        WHERE s.spent_minor + excluded.spent_minor
            <= (SELECT per_day_minor FROM instruments AS i WHERE i.instrument_id = excluded.instrument_id);
        GET DIAGNOSTICS changed_count = ROW_COUNT;
        IF changed_count <> cardinality(day_changes) THEN
            RAISE EXCEPTION 'allowances' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    -- Here, because what an upsert was given beside its row is out of its reach.
    IF EXISTS (
        SELECT FROM unnest(day_changes) AS n
            CROSS JOIN LATERAL (
                SELECT * FROM spent_days AS x
                WHERE x.day = n.day AND x.instrument_id = n.instrument_id OFFSET 0
            ) AS s
        WHERE n.recent_before_max IS NOT NULL AND n.recent_before_max < s.recent_count - n.recent_count
    ) THEN
        RAISE EXCEPTION 'recent_payments' USING ERRCODE = 'TS001';
    END IF;

    IF EXISTS (
        SELECT FROM unnest(wallet_days) AS d
            CROSS JOIN LATERAL (SELECT * FROM wallets AS x WHERE x.wallet_id = d.wallet_id OFFSET 0) AS w
            CROSS JOIN LATERAL (SELECT * FROM accounts AS x WHERE x.account_id = w.account_id OFFSET 0) AS a
            CROSS JOIN LATERAL (
                SELECT * FROM limit_tiers AS x
                WHERE x.currency = a.currency AND x.identity_level = w.identity_level OFFSET 0
            ) AS t
        WHERE t.per_day_minor < spent_of_wallet(d.wallet_id, d.day)
    ) THEN
        RAISE EXCEPTION 'wallet_days' USING ERRCODE = 'TS001';
    END IF;

    receipt_counts := '{}';
    IF cardinality(receipt_changes) > 0 THEN
        WITH given AS (
            UPDATE merchants AS m SET receipt_count = m.receipt_count + r.new_count
            FROM unnest(receipt_changes) WITH ORDINALITY AS r (merchant_id, new_count, place),
                LATERAL (
                    SELECT x.ctid AS place FROM merchants AS x WHERE x.merchant_id = r.merchant_id OFFSET 0
                ) AS found
            WHERE m.ctid = found.place AND m.status = 'active'
            RETURNING r.place, m.receipt_count - r.new_count AS count_before
        )
        SELECT array_agg(count_before ORDER BY place) INTO receipt_counts FROM given;
        IF cardinality(receipt_counts) IS DISTINCT FROM cardinality(receipt_changes) THEN
            RAISE EXCEPTION 'merchants' USING ERRCODE = 'TS001';
        END IF;
    END IF;

    -- After the allowances, because what was approved in this batch before a copy was seen stays approved.
    IF cardinality(suspended_key_ids) > 0 THEN
        UPDATE instruments SET status = 'suspended' WHERE key_id = ANY (suspended_key_ids);
    END IF;

    IF cardinality(payment_changes) > 0 THEN
        INSERT INTO payments (
            payment_id, attempt_id, request_digest, terminal_id, merchant_id, order_id, outcome, decline_code,
            amount_minor, tip_max_minor, fee_minor, currency, entry_mode, is_manual, confirm_code,
            confirm_ways, instrument_id, instrument_label, merchant_name, location_name, receipt_number,
            group_sequence, presented_ms, card_exchange_ms, decided_ms
        )
        SELECT p.payment_id, p.attempt_id, p.request_digest, p.terminal_id, p.merchant_id, p.order_id,
            p.outcome, p.decline_code, p.amount_minor, p.tip_max_minor, p.fee_minor, p.currency, p.entry_mode,
            p.is_manual, p.confirm_code, p.confirm_ways, p.instrument_id, p.instrument_label, p.merchant_name,
            p.location_name, receipt_counts[p.receipt_place] + p.receipt_index,
            first_sequence - 1 + p.group_index, p.presented_ms, p.card_exchange_ms, p.decided_ms
        FROM unnest(payment_changes) AS p;

        INSERT INTO open_payments (payment_id, state, due_ms)
        SELECT p.payment_id, p.outcome, p.due_ms FROM unnest(payment_changes) AS p WHERE p.due_ms IS NOT NULL;

        INSERT INTO terminal_events (terminal_id, payment_id, at_ms)
        SELECT p.terminal_id, p.payment_id, p.decided_ms
        FROM unnest(payment_changes) AS p WHERE p.entry_mode = 'qr_merchant';
    END IF;
END
$$;
