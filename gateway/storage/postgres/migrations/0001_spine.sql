-- Tables and columns as in the SQLite store; types and storage are PostgreSQL's own.
-- Money is bigint minor units, time is bigint unix milliseconds, ids of the ledger are 16 bytes of bytea.
-- Text is compared byte by byte (COLLATE "C"), whatever language the database speaks.
-- Tables that every payment writes to have no foreign keys: each would be a lock on a row that others need,
-- and what they name was checked by the function that writes them. The audit reads the same relations.

-- Which migrations were applied, and that this database is ours.
CREATE TABLE tapscan_migrations (
    number integer PRIMARY KEY CHECK (number >= 1),
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The ledger ---------------------------------------------------------------------------------------------

-- Counters are in no index, so an update writes no index, and finds room beside the row it replaces.
CREATE TABLE accounts (
    account_id bytea PRIMARY KEY CHECK (length(account_id) = 16),
    kind text COLLATE "C" NOT NULL CHECK (kind IN (
        'wallet', 'merchant', 'fees', 'outside', 'allowance', 'losses'
    )),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    debits_must_not_exceed_credits boolean NOT NULL,
    frozen boolean NOT NULL,
    debits_pending bigint NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    debits_posted bigint NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_pending bigint NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    credits_posted bigint NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    opened_ms bigint NOT NULL,
    CHECK (NOT debits_must_not_exceed_credits OR debits_pending + debits_posted <= credits_posted)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The last group of the chain. Whoever books locks this row first and holds it until the commit, so that
-- bookings follow one another and no two of them can wait for each other.
CREATE TABLE chain_head (
    only_row smallint PRIMARY KEY CHECK (only_row = 1),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- 32 zero bytes are what the first group follows.
INSERT INTO chain_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- Booked groups in the order of booking, without a gap from 1; hash is the chain of gateway/ledger/chain.py.
CREATE TABLE ledger_groups (
    sequence bigint PRIMARY KEY CHECK (sequence >= 1),
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN (
        'payment', 'hold', 'capture', 'release', 'refund', 'funding', 'expiry', 'transfer', 'allowance', 'offline'
    )),
    booked_ms bigint NOT NULL,
    leg_count smallint NOT NULL CHECK (leg_count BETWEEN 1 AND 16),
    hash bytea NOT NULL CHECK (length(hash) = 32)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE TABLE transfers (
    group_sequence bigint NOT NULL,
    leg_index smallint NOT NULL CHECK (leg_index BETWEEN 0 AND 15),
    transfer_id bytea NOT NULL UNIQUE CHECK (length(transfer_id) = 16),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('single', 'pending', 'post', 'void', 'expire')),
    debit_account_id bytea NOT NULL,
    credit_account_id bytea NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text COLLATE "C" NOT NULL,
    pending_id bytea,
    expires_ms bigint,
    PRIMARY KEY (group_sequence, leg_index),
    CHECK (debit_account_id <> credit_account_id),
    CHECK ((kind = 'pending') = (expires_ms IS NOT NULL)),
    CHECK ((kind IN ('post', 'void', 'expire')) = (pending_id IS NOT NULL))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- What became of each pending transfer, apart from the transfers, which are never changed.
CREATE TABLE pendings (
    transfer_id bytea PRIMARY KEY,
    expires_ms bigint NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'posted', 'voided', 'expired'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX pendings_due ON pendings (expires_ms) WHERE state = 'open';

-- The selling side ---------------------------------------------------------------------------------------

CREATE TABLE merchants (
    merchant_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    fee_basis_points integer NOT NULL CHECK (fee_basis_points BETWEEN 0 AND 1000),
    -- How much of the goods a tip may be at most; 0: none.
    tip_margin_basis_points integer NOT NULL DEFAULT 0 CHECK (tip_margin_basis_points BETWEEN 0 AND 10000),
    account_id bytea NOT NULL UNIQUE REFERENCES accounts (account_id),
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'suspended')),
    receipt_count bigint NOT NULL DEFAULT 0,
    created_ms bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE locations (
    location_id text COLLATE "C" PRIMARY KEY,
    merchant_id text COLLATE "C" NOT NULL REFERENCES merchants (merchant_id),
    name text NOT NULL,
    UNIQUE (location_id, merchant_id)
);

CREATE TABLE terminals (
    terminal_id text COLLATE "C" PRIMARY KEY,
    merchant_id text COLLATE "C" NOT NULL,
    location_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'active', 'revoked')),
    key_id bytea UNIQUE CHECK (length(key_id) = 8),
    public_key bytea CHECK (length(public_key) = 33),
    software text NOT NULL,
    code_hash bytea NOT NULL UNIQUE,
    code_expires_ms bigint NOT NULL,
    -- What it may refund on a day of UTC.
    refund_limit_minor bigint NOT NULL DEFAULT 0 CHECK (refund_limit_minor >= 0),
    created_ms bigint NOT NULL,
    enrolled_ms bigint,
    FOREIGN KEY (location_id, merchant_id) REFERENCES locations (location_id, merchant_id),
    CHECK ((key_id IS NULL) = (public_key IS NULL)),
    CHECK (status <> 'active' OR key_id IS NOT NULL)
);

-- Who works at a merchant's tills. A try at a PIN is counted before it is judged.
CREATE TABLE staff (
    staff_id text COLLATE "C" PRIMARY KEY,
    merchant_id text COLLATE "C" NOT NULL REFERENCES merchants (merchant_id),
    name text NOT NULL,
    role text COLLATE "C" NOT NULL CHECK (role IN ('cashier', 'manager')),
    pin_hash text NOT NULL,
    pin_tries integer NOT NULL DEFAULT 0 CHECK (pin_tries >= 0),
    -- The mark of the entry that was counted last.
    pin_entry bytea,
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'left')),
    created_ms bigint NOT NULL
);

CREATE INDEX staff_of_merchant ON staff (merchant_id, staff_id);

-- What a merchant has written down that a role may do, instead of the defaults (wire/messages/staff.py); names of
-- rights, separated by blanks.
CREATE TABLE staff_rights (
    merchant_id text COLLATE "C" NOT NULL REFERENCES merchants (merchant_id),
    role text COLLATE "C" NOT NULL CHECK (role IN ('cashier', 'manager')),
    rights text COLLATE "C" NOT NULL,
    PRIMARY KEY (merchant_id, role)
);

-- The paying side ----------------------------------------------------------------------------------------

-- A wallet's currency and whether it is frozen stand at its account.
CREATE TABLE wallets (
    wallet_id text COLLATE "C" PRIMARY KEY,
    holder_name text NOT NULL,
    account_id bytea NOT NULL UNIQUE REFERENCES accounts (account_id),
    identity_level text COLLATE "C" NOT NULL DEFAULT 'verified'
        CHECK (identity_level IN ('anonymous', 'basic', 'verified')),
    -- argon2id; a try is counted before it is judged.
    pin_hash text,
    pin_tries integer NOT NULL DEFAULT 0 CHECK (pin_tries >= 0),
    -- The mark of the entry that was counted last.
    pin_entry bytea,
    created_ms bigint NOT NULL
);

-- What a wallet of a level may spend, in minor units; without a row only its instruments' limits count.
CREATE TABLE limit_tiers (
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    identity_level text COLLATE "C" NOT NULL CHECK (identity_level IN ('anonymous', 'basic', 'verified')),
    confirm_above_minor bigint NOT NULL CHECK (confirm_above_minor >= 0),
    pin_max_minor bigint NOT NULL CHECK (pin_max_minor >= 0),
    per_payment_minor bigint NOT NULL CHECK (per_payment_minor >= 0),
    per_day_minor bigint NOT NULL CHECK (per_day_minor >= 0),
    PRIMARY KEY (currency, identity_level)
);

-- How weak a proof each entry mode is, strongest first, as wire.messages.payments.EntryMode orders them.
CREATE TABLE entry_modes (
    entry_mode text COLLATE "C" PRIMARY KEY,
    weakness integer NOT NULL UNIQUE
);

INSERT INTO entry_modes VALUES
    ('nfc_app', 0), ('qr_merchant', 1), ('qr_consumer', 2), ('nfc_sdm', 3), ('code_numeric', 4);

-- Keys shared by a batch of NTAG 424 cards, sealed by gateway/vault.py; a batch may be given newer ones.
CREATE TABLE card_key_batches (
    batch_number bigint NOT NULL,
    key_version bigint NOT NULL CHECK (key_version BETWEEN 1 AND 255),
    meta_key_sealed bytea NOT NULL,
    file_master_sealed bytea NOT NULL,
    created_ms bigint NOT NULL,
    PRIMARY KEY (batch_number, key_version)
);

CREATE TABLE instruments (
    instrument_id text COLLATE "C" PRIMARY KEY,
    wallet_id text COLLATE "C" NOT NULL REFERENCES wallets (wallet_id),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('phone_key', 'applet_card', 'ntag424_card')),
    label text NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'suspended')),
    key_id bytea NOT NULL UNIQUE CHECK (length(key_id) = 8),
    public_key bytea CHECK (length(public_key) = 33),
    weakest_entry_mode text COLLATE "C" NOT NULL REFERENCES entry_modes (entry_mode),
    per_payment_minor bigint NOT NULL CHECK (per_payment_minor >= 0),
    per_day_minor bigint NOT NULL CHECK (per_day_minor >= 0),
    -- More than this needs the holder's confirmation; NULL: only the wallet's tier says so.
    confirm_above_minor bigint CHECK (confirm_above_minor >= 0),
    card_counter bigint NOT NULL CHECK (card_counter >= 0),
    card_key_batch bigint,
    card_key_version bigint,
    created_ms bigint NOT NULL,
    FOREIGN KEY (card_key_batch, card_key_version) REFERENCES card_key_batches (batch_number, key_version),
    CHECK ((kind = 'ntag424_card') = (public_key IS NULL)),
    CHECK ((kind = 'ntag424_card') = (card_key_batch IS NOT NULL)),
    CHECK ((card_key_batch IS NULL) = (card_key_version IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX instruments_of_wallet ON instruments (wallet_id);
CREATE INDEX instruments_suspended ON instruments (instrument_id) WHERE status = 'suspended';

-- Cards to be made for wallets. card_key_id is the card an order was begun with, as in instruments.
CREATE TABLE card_orders (
    order_id text COLLATE "C" PRIMARY KEY,
    code_hash bytea NOT NULL UNIQUE,
    wallet_id text COLLATE "C" NOT NULL REFERENCES wallets (wallet_id),
    batch_number bigint NOT NULL,
    label text,
    state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'done', 'cancelled')),
    card_key_id bytea CHECK (length(card_key_id) = 8),
    instrument_id text COLLATE "C" REFERENCES instruments (instrument_id),
    created_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    CHECK ((state = 'done') = (instrument_id IS NOT NULL)),
    CHECK (state <> 'done' OR card_key_id IS NOT NULL)
);

CREATE INDEX card_orders_by_card ON card_orders (card_key_id) WHERE card_key_id IS NOT NULL;

-- Conversations with cards that terminals carry, sealed by gateway/vault.py; each is over within minutes.
CREATE TABLE card_sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    terminal_id text COLLATE "C" NOT NULL REFERENCES terminals (terminal_id),
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    step bigint NOT NULL CHECK (step >= 0),
    state_sealed bytea NOT NULL,
    created_ms bigint NOT NULL,
    expires_ms bigint NOT NULL
);

CREATE INDEX card_sessions_of_terminal ON card_sessions (terminal_id, created_ms);
CREATE INDEX card_sessions_over ON card_sessions (expires_ms);

-- NTAG 424 cards that stand for members of staff. One that pays is never among them, nor the other way round.
CREATE TABLE staff_tags (
    key_id bytea PRIMARY KEY CHECK (length(key_id) = 8),
    staff_id text COLLATE "C" NOT NULL REFERENCES staff (staff_id),
    card_key_batch bigint NOT NULL,
    card_key_version bigint NOT NULL,
    card_counter bigint NOT NULL CHECK (card_counter >= 0),
    -- The mark of what the last tap was used for.
    last_entry bytea,
    created_ms bigint NOT NULL,
    FOREIGN KEY (card_key_batch, card_key_version) REFERENCES card_key_batches (batch_number, key_version)
);

CREATE INDEX staff_tags_of_staff ON staff_tags (staff_id);

-- Numeric codes, hashed; used_by is the payment id of the attempt that took it.
CREATE TABLE payment_codes (
    code_hash bytea PRIMARY KEY,
    instrument_id text COLLATE "C" NOT NULL REFERENCES instruments (instrument_id),
    expires_ms bigint NOT NULL,
    used_by text COLLATE "C"
);

CREATE INDEX payment_codes_unused ON payment_codes (instrument_id) WHERE used_by IS NULL;

-- Nonces of requests for payment codes, kept while their signatures are fresh.
CREATE TABLE request_nonces (
    key_id bytea NOT NULL,
    nonce text COLLATE "C" NOT NULL,
    expires_ms bigint NOT NULL,
    PRIMARY KEY (key_id, nonce)
);

CREATE INDEX request_nonces_over ON request_nonces (expires_ms);

-- Payments -----------------------------------------------------------------------------------------------

-- Single use of signed tokens: never keyed on the token's bytes, since ECDSA signatures are malleable.
CREATE TABLE token_uses (
    key_id bytea NOT NULL,
    counter bigint NOT NULL,
    claims_digest bytea NOT NULL CHECK (length(claims_digest) = 32),
    terminal_id text COLLATE "C" NOT NULL,
    terminal_nonce bytea,
    nonce_day integer,
    payment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (key_id, counter),
    UNIQUE (nonce_day, terminal_nonce, terminal_id),
    CHECK ((nonce_day IS NULL) = (terminal_nonce IS NULL))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- What an instrument spent on a day of UTC, holds included; day is unix milliseconds divided by 86,400,000.
-- The last two count the payments of the last window of ten minutes.
CREATE TABLE spent_days (
    day integer NOT NULL,
    instrument_id text COLLATE "C" NOT NULL,
    spent_minor bigint NOT NULL CHECK (spent_minor >= 0),
    payment_count integer NOT NULL DEFAULT 0,
    recent_window integer NOT NULL DEFAULT 0,
    recent_count integer NOT NULL DEFAULT 0,
    PRIMARY KEY (day, instrument_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- What is charged and held for an order can't exceed what it is for. Details are its tax and line items.
CREATE TABLE orders (
    order_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    taken_minor bigint NOT NULL CHECK (taken_minor BETWEEN 0 AND amount_minor),
    details bytea,
    PRIMARY KEY (order_id, merchant_id)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Every decided attempt with the names its receipt shows, as they were then.
CREATE TABLE payments (
    payment_id text COLLATE "C" PRIMARY KEY,
    attempt_id text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    terminal_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    decline_code text COLLATE "C",
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    -- What of it is kept for a tip at the capture.
    tip_max_minor bigint NOT NULL CHECK (tip_max_minor BETWEEN 0 AND amount_minor - 1),
    fee_minor bigint NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    currency text COLLATE "C" NOT NULL,
    entry_mode text COLLATE "C" NOT NULL,
    is_manual boolean NOT NULL,
    confirm_code text COLLATE "C",
    -- `pin`, `device` or `pin device`.
    confirm_ways text COLLATE "C",
    instrument_id text COLLATE "C",
    instrument_label text,
    merchant_name text NOT NULL,
    location_name text NOT NULL,
    receipt_number bigint,
    group_sequence bigint UNIQUE,
    presented_ms bigint NOT NULL,
    card_exchange_ms bigint,
    decided_ms bigint NOT NULL,
    UNIQUE (attempt_id, terminal_id),
    CHECK ((confirm_code IS NULL) = (confirm_ways IS NULL)),
    CHECK (CASE outcome
        WHEN 'approved' THEN decline_code IS NULL AND receipt_number IS NOT NULL AND NOT is_manual
            AND group_sequence IS NOT NULL AND instrument_id IS NOT NULL AND confirm_code IS NULL
        WHEN 'authorised' THEN decline_code IS NULL AND receipt_number IS NULL AND is_manual AND fee_minor = 0
            AND group_sequence IS NOT NULL AND instrument_id IS NOT NULL AND confirm_code IS NULL
        WHEN 'requires_confirmation' THEN decline_code IS NULL AND receipt_number IS NULL AND fee_minor = 0
            AND group_sequence IS NOT NULL AND instrument_id IS NOT NULL AND confirm_code IS NOT NULL
        WHEN 'declined' THEN decline_code IS NOT NULL AND receipt_number IS NULL AND group_sequence IS NULL
            AND confirm_code IS NULL AND fee_minor = 0
        ELSE false END)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- What a till did in an hour, for the totals of its shifts. Hours, and not days, because only the last leaf of each
-- till is written to: those of an hour stay in memory.
CREATE INDEX payments_of_hour ON payments ((decided_ms / 3600000), terminal_id);

-- One row for every payment that holds money until its deadline; whoever ends or moves it changes this row.
CREATE TABLE open_payments (
    payment_id text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL CHECK (state IN ('requires_confirmation', 'authorised')),
    due_ms bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX open_payments_due ON open_payments (due_ms, payment_id);

-- What happened to payments after they were decided (gateway/payments/states.py); a plain sale has no row.
CREATE TABLE payment_steps (
    payment_id text COLLATE "C" NOT NULL,
    step_index integer NOT NULL CHECK (step_index >= 1),
    step text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    code text COLLATE "C",
    request_id text COLLATE "C",
    charged_minor bigint NOT NULL CHECK (charged_minor >= 0),
    tip_minor bigint NOT NULL CHECK (tip_minor BETWEEN 0 AND charged_minor),
    fee_minor bigint NOT NULL CHECK (fee_minor BETWEEN 0 AND charged_minor),
    -- What it gave back of its order and of its instrument's day.
    order_released_minor bigint NOT NULL CHECK (order_released_minor >= 0),
    day_released_minor bigint NOT NULL CHECK (day_released_minor >= 0),
    receipt_number bigint,
    group_sequence bigint UNIQUE,
    due_ms bigint,
    at_ms bigint NOT NULL,
    -- Where the payment was made, whoever did this.
    terminal_id text COLLATE "C" NOT NULL,
    -- Who at the shop answered for it; NULL where nobody had to.
    staff_id text COLLATE "C",
    PRIMARY KEY (payment_id, step_index),
    CHECK ((state IN ('requires_confirmation', 'authorised')) = (due_ms IS NOT NULL))
);

CREATE INDEX payment_steps_of_hour ON payment_steps ((at_ms / 3600000), terminal_id);

-- Money given back, each up to a total that no second refund can reach.
CREATE TABLE refunds (
    refund_id text COLLATE "C" PRIMARY KEY,
    payment_id text COLLATE "C" NOT NULL,
    terminal_id text COLLATE "C" NOT NULL,
    day integer NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    total_minor bigint NOT NULL CHECK (total_minor >= amount_minor),
    fee_minor bigint NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    reason text NOT NULL,
    staff_id text COLLATE "C" NOT NULL,
    group_sequence bigint NOT NULL UNIQUE,
    refunded_ms bigint NOT NULL,
    UNIQUE (payment_id, total_minor)
);

CREATE INDEX refunds_of_day ON refunds (day, terminal_id);

-- Payments without a connection (docs/adr/0008) -----------------------------------------------------------

-- What devices may spend where nobody can be asked; the money is in the credential's own account. `ends_ms` is
-- when no record under it can arrive any more; `listed_ms` when the status list first said that it is suspended.
CREATE TABLE credentials (
    credential_id text COLLATE "C" PRIMARY KEY,
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    instrument_id text COLLATE "C" NOT NULL REFERENCES instruments (instrument_id),
    tag bytea NOT NULL UNIQUE CHECK (length(tag) = 8),
    account_id bytea NOT NULL UNIQUE REFERENCES accounts (account_id),
    status_index integer NOT NULL CHECK (status_index BETWEEN 0 AND 65535),
    allowance_minor bigint NOT NULL CHECK (allowance_minor > 0),
    per_payment_minor bigint NOT NULL CHECK (per_payment_minor > 0),
    issued_ms bigint NOT NULL,
    expires_ms bigint NOT NULL CHECK (expires_ms > issued_ms),
    ends_ms bigint NOT NULL CHECK (ends_ms >= expires_ms),
    state text COLLATE "C" NOT NULL CHECK (state IN ('live', 'replaced', 'ended')),
    listed_ms bigint
);

CREATE UNIQUE INDEX credentials_live ON credentials (instrument_id) WHERE state = 'live';
CREATE UNIQUE INDEX credentials_status ON credentials (status_index) WHERE state <> 'ended';
CREATE INDEX credentials_of_instrument ON credentials (instrument_id);
CREATE INDEX credentials_listed ON credentials (credential_id) WHERE listed_ms IS NOT NULL;
CREATE INDEX credentials_due ON credentials (ends_ms) WHERE state <> 'ended';

-- The status index that was given last, so that one which is free again rests as long as possible.
CREATE TABLE status_indexes (
    only_row smallint PRIMARY KEY CHECK (only_row = 1),
    last_index integer NOT NULL CHECK (last_index BETWEEN -1 AND 65535)
);

INSERT INTO status_indexes VALUES (1, -1);

-- Every sealed record that was taken from a terminal, once, with the word it got. `payment_id` is its own payment
-- where has_payment, else the one that has its attempt or its tap. What the device signed is kept to be held
-- against what it signs elsewhere; it is NULL where nothing of it is authentic.
CREATE TABLE offline_records (
    terminal_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    link bytea NOT NULL CHECK (length(link) = 32),
    previous_link bytea NOT NULL CHECK (length(previous_link) = 32),
    sealed bytea NOT NULL,
    attempt_id text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    has_payment boolean NOT NULL,
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('settled', 'declined', 'conflict')),
    code text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text COLLATE "C" NOT NULL,
    loss_minor bigint NOT NULL CHECK (loss_minor BETWEEN 0 AND amount_minor),
    loss_bearer text COLLATE "C" CHECK (loss_bearer IN ('operator', 'merchant')),
    credential_id text COLLATE "C",
    key_id bytea,
    counter bigint,
    running_total_minor bigint,
    accepted_ms bigint NOT NULL,
    received_ms bigint NOT NULL,
    PRIMARY KEY (terminal_id, sequence),
    CHECK ((loss_minor = 0) = (loss_bearer IS NULL)),
    CHECK ((key_id IS NULL) = (counter IS NULL) AND (key_id IS NULL) = (running_total_minor IS NULL))
);

CREATE UNIQUE INDEX offline_records_of_payment ON offline_records (payment_id) WHERE has_payment;
CREATE INDEX offline_records_of_key ON offline_records (key_id, counter);
CREATE INDEX offline_records_of_key_at ON offline_records (terminal_id, key_id, sequence);
CREATE INDEX offline_records_lost ON offline_records (received_ms) WHERE loss_minor > 0;

-- What somebody should look at; the same thing is said once.
CREATE TABLE offline_alarms (
    terminal_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN (
        'gap', 'chain_broken', 'sequence_conflict', 'attempt_conflict', 'tap_repeated', 'key_copied', 'total_forked'
    )),
    link bytea NOT NULL CHECK (length(link) = 32),
    payment_id text COLLATE "C",
    instrument_id text COLLATE "C",
    at_ms bigint NOT NULL,
    PRIMARY KEY (terminal_id, sequence, kind, link)
);

CREATE INDEX offline_alarms_at ON offline_alarms (at_ms);

-- Payments as they stand now: the decision, the last step if there is one, the deadline while it is open, and
-- what was refunded; and of one accepted without a connection, what the payer did not cover, NULL of all others.
-- Each lookup stands apart with OFFSET 0 (0002_booking.sql says why).
CREATE VIEW payments_now AS
SELECT p.*, s.step_index, s.state, s.code AS step_code, s.charged_minor, s.tip_minor,
    s.fee_minor AS step_fee_minor, o.due_ms,
    (
        SELECT x.request_id FROM payment_steps AS x
        WHERE x.payment_id = p.payment_id AND x.request_id IS NOT NULL
    ) AS capture_id,
    (
        SELECT x.receipt_number FROM payment_steps AS x
        WHERE x.payment_id = p.payment_id AND x.receipt_number IS NOT NULL
    ) AS step_receipt_number,
    (SELECT max(r.total_minor) FROM refunds AS r WHERE r.payment_id = p.payment_id) AS refunded_minor,
    (
        SELECT r.loss_minor FROM offline_records AS r WHERE r.payment_id = p.payment_id AND r.has_payment
    ) AS offline_loss_minor
FROM payments AS p
    LEFT JOIN LATERAL (
        SELECT * FROM payment_steps AS x WHERE x.payment_id = p.payment_id ORDER BY x.step_index DESC LIMIT 1
    ) AS s ON true
    LEFT JOIN LATERAL (
        SELECT * FROM open_payments AS x WHERE x.payment_id = p.payment_id OFFSET 0
    ) AS o ON true;

-- What a till's code asks for. The id is the attempt id under which it is paid, once (docs/adr/0007).
CREATE TABLE intents (
    intent_id text COLLATE "C" PRIMARY KEY,
    terminal_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text COLLATE "C" NOT NULL,
    order_amount_minor bigint NOT NULL CHECK (order_amount_minor >= 0),
    order_details bytea,
    created_ms bigint NOT NULL,
    expires_ms bigint NOT NULL
);

CREATE INDEX intents_of_terminal ON intents (terminal_id, created_ms);

-- What terminals did not ask for themselves, in the order in which it happened.
CREATE TABLE terminal_events (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    terminal_id text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL
);

CREATE INDEX terminal_events_of_terminal ON terminal_events (terminal_id, sequence);

-- From when to when a till was worked at. One is open at a till at a time, and none begins before the last one ended.
CREATE TABLE shifts (
    shift_id text COLLATE "C" PRIMARY KEY,
    terminal_id text COLLATE "C" NOT NULL REFERENCES terminals (terminal_id),
    opened_ms bigint NOT NULL,
    opened_by text COLLATE "C" REFERENCES staff (staff_id),
    closed_ms bigint,
    closed_by text COLLATE "C" REFERENCES staff (staff_id),
    CHECK (closed_ms >= opened_ms),
    CHECK (closed_ms IS NOT NULL OR closed_by IS NULL)
);

CREATE UNIQUE INDEX shifts_open ON shifts (terminal_id) WHERE closed_ms IS NULL;
CREATE INDEX shifts_of_terminal ON shifts (terminal_id, closed_ms);

-- Written to by a health check, because only a write shows that a write works.
CREATE TABLE health (
    only_row smallint PRIMARY KEY CHECK (only_row = 1),
    check_count bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO health VALUES (1, 0);

-- History is appended to and never edited ----------------------------------------------------------------

CREATE FUNCTION refuse_to_edit_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are append-only', TG_TABLE_NAME USING ERRCODE = 'TS002';
END
$$;

-- For each statement, so that appending costs nothing.
CREATE TRIGGER ledger_groups_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_groups
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
CREATE TRIGGER transfers_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
CREATE TRIGGER payments_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON payments
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
CREATE TRIGGER payment_steps_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_steps
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
CREATE TRIGGER refunds_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON refunds
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
CREATE TRIGGER offline_records_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON offline_records
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_edit_history();
