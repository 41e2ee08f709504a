-- Everything the first milestone keeps.

-- The ledger ---------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    account_id BLOB PRIMARY KEY CHECK (length(account_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('wallet', 'merchant', 'fees', 'outside')),
    currency TEXT NOT NULL CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    debits_must_not_exceed_credits INTEGER NOT NULL CHECK (debits_must_not_exceed_credits IN (0, 1)),
    frozen INTEGER NOT NULL CHECK (frozen IN (0, 1)),
    debits_pending INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    debits_posted INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_pending INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    credits_posted INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    opened_ms INTEGER NOT NULL,
    CHECK (NOT debits_must_not_exceed_credits OR debits_pending + debits_posted <= credits_posted)
) STRICT, WITHOUT ROWID;

-- Booked groups in the order of booking, without a gap from 1; hash is the chain of gateway/ledger/chain.py.
CREATE TABLE ledger_groups (
    sequence INTEGER PRIMARY KEY CHECK (sequence >= 1),
    purpose TEXT NOT NULL CHECK (
        CASE purpose WHEN 'payment' THEN 1 WHEN 'funding' THEN 1 WHEN 'expiry' THEN 1 WHEN 'transfer' THEN 1
        ELSE 0 END
    ),
    booked_ms INTEGER NOT NULL,
    leg_count INTEGER NOT NULL CHECK (leg_count BETWEEN 1 AND 16),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE transfers (
    group_sequence INTEGER NOT NULL,
    leg_index INTEGER NOT NULL CHECK (leg_index BETWEEN 0 AND 15),
    transfer_id BLOB NOT NULL UNIQUE CHECK (length(transfer_id) = 16),
    kind TEXT NOT NULL,
    debit_account_id BLOB NOT NULL,
    credit_account_id BLOB NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    pending_id BLOB,
    expires_ms INTEGER,
    PRIMARY KEY (group_sequence, leg_index),
    CHECK (debit_account_id <> credit_account_id),
    -- One CASE and no IN: SQLite makes a temporary index of a list of texts at every statement.
    CHECK (CASE kind
        WHEN 'single' THEN pending_id IS NULL AND expires_ms IS NULL
        WHEN 'pending' THEN pending_id IS NULL AND expires_ms IS NOT NULL
        WHEN 'post' THEN pending_id IS NOT NULL AND expires_ms IS NULL
        WHEN 'void' THEN pending_id IS NOT NULL AND expires_ms IS NULL
        WHEN 'expire' THEN pending_id IS NOT NULL AND expires_ms IS NULL
        ELSE 0 END)
) STRICT, WITHOUT ROWID;

-- What became of each pending transfer, apart from the transfers, which are never changed.
CREATE TABLE pendings (
    transfer_id BLOB PRIMARY KEY,
    expires_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'posted', 'voided', 'expired'))
) STRICT, WITHOUT ROWID;

CREATE INDEX pendings_due ON pendings (expires_ms) WHERE state = 'open';

-- The selling side ---------------------------------------------------------------------------------------

CREATE TABLE merchants (
    merchant_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    fee_basis_points INTEGER NOT NULL CHECK (fee_basis_points BETWEEN 0 AND 1000),
    account_id BLOB NOT NULL UNIQUE REFERENCES accounts (account_id),
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    receipt_count INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE locations (
    location_id TEXT PRIMARY KEY,
    merchant_id TEXT NOT NULL REFERENCES merchants (merchant_id),
    name TEXT NOT NULL,
    UNIQUE (location_id, merchant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE terminals (
    terminal_id TEXT PRIMARY KEY,
    merchant_id TEXT NOT NULL,
    location_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'revoked')),
    key_id BLOB UNIQUE CHECK (length(key_id) = 8),
    public_key BLOB CHECK (length(public_key) = 33),
    software TEXT NOT NULL,
    code_hash BLOB NOT NULL UNIQUE,
    code_expires_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    enrolled_ms INTEGER,
    FOREIGN KEY (location_id, merchant_id) REFERENCES locations (location_id, merchant_id),
    CHECK ((key_id IS NULL) = (public_key IS NULL)),
    CHECK (status <> 'active' OR key_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- The paying side ----------------------------------------------------------------------------------------

-- A wallet's currency and whether it is frozen stand at its account.
CREATE TABLE wallets (
    wallet_id TEXT PRIMARY KEY,
    holder_name TEXT NOT NULL,
    account_id BLOB NOT NULL UNIQUE REFERENCES accounts (account_id),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How weak a proof each entry mode is, strongest first, as wire.messages.payments.EntryMode orders them.
CREATE TABLE entry_modes (
    entry_mode TEXT PRIMARY KEY,
    weakness INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

INSERT INTO entry_modes VALUES ('nfc_app', 0), ('qr_consumer', 1), ('nfc_sdm', 2), ('code_numeric', 3);

-- Keys shared by a batch of NTAG 424 cards, sealed by gateway/vault.py.
CREATE TABLE card_key_batches (
    batch_number INTEGER PRIMARY KEY,
    meta_key_sealed BLOB NOT NULL,
    file_master_sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE instruments (
    instrument_id TEXT PRIMARY KEY,
    wallet_id TEXT NOT NULL REFERENCES wallets (wallet_id),
    kind TEXT NOT NULL CHECK (kind IN ('phone_key', 'applet_card', 'ntag424_card')),
    label TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 8),
    public_key BLOB CHECK (length(public_key) = 33),
    weakest_entry_mode TEXT NOT NULL REFERENCES entry_modes (entry_mode),
    per_payment_minor INTEGER NOT NULL CHECK (per_payment_minor >= 0),
    per_day_minor INTEGER NOT NULL CHECK (per_day_minor >= 0),
    card_counter INTEGER NOT NULL CHECK (card_counter >= 0),
    card_key_batch INTEGER REFERENCES card_key_batches (batch_number),
    created_ms INTEGER NOT NULL,
    CHECK ((kind = 'ntag424_card') = (public_key IS NULL)),
    CHECK ((kind = 'ntag424_card') = (card_key_batch IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Numeric codes, hashed; used_by is the payment id of the attempt that took it.
CREATE TABLE payment_codes (
    code_hash BLOB PRIMARY KEY,
    instrument_id TEXT NOT NULL REFERENCES instruments (instrument_id),
    expires_ms INTEGER NOT NULL,
    used_by TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX payment_codes_unused ON payment_codes (instrument_id) WHERE used_by IS NULL;

-- Nonces of payment-code requests: one captured on its way asks for nothing twice, whichever process it meets.
CREATE TABLE request_nonces (
    key_id BLOB NOT NULL,
    nonce TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (key_id, nonce)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_nonces_over ON request_nonces (expires_ms);

-- Payments -----------------------------------------------------------------------------------------------

-- Single use of signed tokens: never keyed on the token's bytes, since ECDSA signatures are malleable. A
-- terminal's nonce is unique for a day of UTC and the day before: what is older is refused for its age, and an
-- index of random nonces would grow with all of history.
CREATE TABLE token_uses (
    key_id BLOB NOT NULL,
    counter INTEGER NOT NULL,
    claims_digest BLOB NOT NULL CHECK (length(claims_digest) = 32),
    terminal_id TEXT NOT NULL,
    terminal_nonce BLOB,
    nonce_day INTEGER,
    payment_id TEXT NOT NULL,
    PRIMARY KEY (key_id, counter),
    UNIQUE (nonce_day, terminal_nonce, terminal_id),
    CHECK ((nonce_day IS NULL) = (terminal_nonce IS NULL))
) STRICT, WITHOUT ROWID;

-- What an instrument spent on a day of UTC; day is unix milliseconds divided by 86,400,000.
CREATE TABLE spent_days (
    instrument_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL CHECK (spent_minor > 0),
    PRIMARY KEY (day, instrument_id)
) STRICT, WITHOUT ROWID;

-- What was approved for an order can't exceed what it is for.
CREATE TABLE orders (
    merchant_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    approved_minor INTEGER NOT NULL CHECK (approved_minor BETWEEN 1 AND amount_minor),
    PRIMARY KEY (order_id, merchant_id)
) STRICT, WITHOUT ROWID;

-- Every decided attempt, approved or declined, with the names its receipt shows, as they were then. That a
-- merchant's receipts are numbered 1, 2, 3, ... is proved by the audit's walk, not by an index.
CREATE TABLE payments (
    payment_id TEXT PRIMARY KEY,
    attempt_id TEXT NOT NULL,
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    terminal_id TEXT NOT NULL,
    merchant_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    decline_code TEXT,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    entry_mode TEXT NOT NULL,
    instrument_id TEXT,
    instrument_label TEXT,
    merchant_name TEXT NOT NULL,
    location_name TEXT NOT NULL,
    receipt_number INTEGER,
    group_sequence INTEGER UNIQUE,
    presented_ms INTEGER NOT NULL,
    card_exchange_ms INTEGER,
    decided_ms INTEGER NOT NULL,
    UNIQUE (attempt_id, terminal_id),
    CHECK (CASE outcome
        WHEN 'approved' THEN decline_code IS NULL AND receipt_number IS NOT NULL
            AND group_sequence IS NOT NULL AND instrument_id IS NOT NULL
        WHEN 'declined' THEN decline_code IS NOT NULL AND receipt_number IS NULL AND group_sequence IS NULL
        ELSE 0 END)
) STRICT, WITHOUT ROWID;

-- Written to by a health check, because only a write shows that a write works.
CREATE TABLE health (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    check_count INTEGER NOT NULL
) STRICT;

INSERT INTO health VALUES (1, 0);

-- History is appended to and never edited ----------------------------------------------------------------

CREATE TRIGGER ledger_groups_never_change BEFORE UPDATE ON ledger_groups
BEGIN SELECT RAISE (ABORT, 'ledger_groups are append-only'); END;
CREATE TRIGGER ledger_groups_never_go BEFORE DELETE ON ledger_groups
BEGIN SELECT RAISE (ABORT, 'ledger_groups are append-only'); END;
CREATE TRIGGER transfers_never_change BEFORE UPDATE ON transfers
BEGIN SELECT RAISE (ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfers_never_go BEFORE DELETE ON transfers
BEGIN SELECT RAISE (ABORT, 'transfers are append-only'); END;
CREATE TRIGGER payments_never_change BEFORE UPDATE ON payments
BEGIN SELECT RAISE (ABORT, 'payments are append-only'); END;
CREATE TRIGGER payments_never_go BEFORE DELETE ON payments
BEGIN SELECT RAISE (ABORT, 'payments are append-only'); END;
