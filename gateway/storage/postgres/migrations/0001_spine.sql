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
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('wallet', 'merchant', 'fees', 'outside')),
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
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN ('payment', 'funding', 'expiry', 'transfer')),
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
    created_ms bigint NOT NULL,
    enrolled_ms bigint,
    FOREIGN KEY (location_id, merchant_id) REFERENCES locations (location_id, merchant_id),
    CHECK ((key_id IS NULL) = (public_key IS NULL)),
    CHECK (status <> 'active' OR key_id IS NOT NULL)
);

-- The paying side ----------------------------------------------------------------------------------------

-- A wallet's currency and whether it is frozen stand at its account.
CREATE TABLE wallets (
    wallet_id text COLLATE "C" PRIMARY KEY,
    holder_name text NOT NULL,
    account_id bytea NOT NULL UNIQUE REFERENCES accounts (account_id),
    created_ms bigint NOT NULL
);

-- How weak a proof each entry mode is, strongest first, as wire.messages.payments.EntryMode orders them.
CREATE TABLE entry_modes (
    entry_mode text COLLATE "C" PRIMARY KEY,
    weakness integer NOT NULL UNIQUE
);

INSERT INTO entry_modes VALUES ('nfc_app', 0), ('qr_consumer', 1), ('nfc_sdm', 2), ('code_numeric', 3);

-- Keys shared by a batch of NTAG 424 cards, sealed by gateway/vault.py.
CREATE TABLE card_key_batches (
    batch_number bigint PRIMARY KEY,
    meta_key_sealed bytea NOT NULL,
    file_master_sealed bytea NOT NULL,
    created_ms bigint NOT NULL
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
    card_counter bigint NOT NULL CHECK (card_counter >= 0),
    card_key_batch bigint REFERENCES card_key_batches (batch_number),
    created_ms bigint NOT NULL,
    CHECK ((kind = 'ntag424_card') = (public_key IS NULL)),
    CHECK ((kind = 'ntag424_card') = (card_key_batch IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

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

-- What an instrument spent on a day of UTC; day is unix milliseconds divided by 86,400,000.
CREATE TABLE spent_days (
    day integer NOT NULL,
    instrument_id text COLLATE "C" NOT NULL,
    spent_minor bigint NOT NULL CHECK (spent_minor > 0),
    PRIMARY KEY (day, instrument_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- What was approved for an order can't exceed what it is for.
CREATE TABLE orders (
    order_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    approved_minor bigint NOT NULL CHECK (approved_minor BETWEEN 1 AND amount_minor),
    PRIMARY KEY (order_id, merchant_id)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Every decided attempt, approved or declined, with the names its receipt shows, as they were then.
CREATE TABLE payments (
    payment_id text COLLATE "C" PRIMARY KEY,
    attempt_id text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    terminal_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('approved', 'declined')),
    decline_code text COLLATE "C",
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text COLLATE "C" NOT NULL,
    entry_mode text COLLATE "C" NOT NULL,
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
    CHECK ((outcome = 'declined') = (decline_code IS NOT NULL)),
    CHECK ((outcome = 'approved') = (receipt_number IS NOT NULL)),
    CHECK ((outcome = 'approved') = (group_sequence IS NOT NULL)),
    CHECK (outcome = 'declined' OR instrument_id IS NOT NULL)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

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
