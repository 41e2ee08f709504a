-- The whole schema, to be read. Equal to all migrations applied; a test says so.
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
