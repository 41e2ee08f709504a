-- Everything the first milestone keeps.

-- The ledger ---------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    account_id BLOB PRIMARY KEY CHECK (length(account_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('wallet', 'merchant', 'fees', 'outside', 'allowance', 'losses')),
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
        CASE purpose WHEN 'payment' THEN 1 WHEN 'hold' THEN 1 WHEN 'capture' THEN 1 WHEN 'release' THEN 1
        WHEN 'refund' THEN 1 WHEN 'funding' THEN 1 WHEN 'expiry' THEN 1 WHEN 'transfer' THEN 1
        WHEN 'allowance' THEN 1 WHEN 'offline' THEN 1 ELSE 0 END
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
    -- How much of the goods a tip may be at most; 0: none.
    tip_margin_basis_points INTEGER NOT NULL DEFAULT 0 CHECK (tip_margin_basis_points BETWEEN 0 AND 10000),
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
    -- What it may refund on a day of UTC.
    refund_limit_minor INTEGER NOT NULL DEFAULT 0 CHECK (refund_limit_minor >= 0),
    created_ms INTEGER NOT NULL,
    enrolled_ms INTEGER,
    FOREIGN KEY (location_id, merchant_id) REFERENCES locations (location_id, merchant_id),
    CHECK ((key_id IS NULL) = (public_key IS NULL)),
    CHECK (status <> 'active' OR key_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- Who works at a merchant's tills. A try at a PIN is counted before it is judged.
CREATE TABLE staff (
    staff_id TEXT PRIMARY KEY,
    merchant_id TEXT NOT NULL REFERENCES merchants (merchant_id),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('cashier', 'manager')),
    pin_hash TEXT NOT NULL,
    pin_tries INTEGER NOT NULL DEFAULT 0 CHECK (pin_tries >= 0),
    -- The mark of the entry that was counted last.
    pin_entry BLOB,
    status TEXT NOT NULL CHECK (status IN ('active', 'left')),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX staff_of_merchant ON staff (merchant_id, staff_id);

-- What a merchant has written down that a role may do, instead of the defaults (wire/messages/staff.py); names of
-- rights, separated by blanks.
CREATE TABLE staff_rights (
    merchant_id TEXT NOT NULL REFERENCES merchants (merchant_id),
    role TEXT NOT NULL CHECK (role IN ('cashier', 'manager')),
    rights TEXT NOT NULL,
    PRIMARY KEY (merchant_id, role)
) STRICT, WITHOUT ROWID;

-- The paying side ----------------------------------------------------------------------------------------

-- A wallet's currency and whether it is frozen stand at its account.
CREATE TABLE wallets (
    wallet_id TEXT PRIMARY KEY,
    holder_name TEXT NOT NULL,
    account_id BLOB NOT NULL UNIQUE REFERENCES accounts (account_id),
    identity_level TEXT NOT NULL DEFAULT 'verified'
        CHECK (identity_level IN ('anonymous', 'basic', 'verified')),
    -- argon2id; a try is counted before it is judged.
    pin_hash TEXT,
    pin_tries INTEGER NOT NULL DEFAULT 0 CHECK (pin_tries >= 0),
    -- The mark of the entry that was counted last.
    pin_entry BLOB,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a wallet of a level may spend, in minor units; without a row only its instruments' limits count.
CREATE TABLE limit_tiers (
    currency TEXT NOT NULL CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    identity_level TEXT NOT NULL CHECK (identity_level IN ('anonymous', 'basic', 'verified')),
    confirm_above_minor INTEGER NOT NULL CHECK (confirm_above_minor >= 0),
    pin_max_minor INTEGER NOT NULL CHECK (pin_max_minor >= 0),
    per_payment_minor INTEGER NOT NULL CHECK (per_payment_minor >= 0),
    per_day_minor INTEGER NOT NULL CHECK (per_day_minor >= 0),
    PRIMARY KEY (currency, identity_level)
) STRICT, WITHOUT ROWID;

-- How weak a proof each entry mode is, strongest first, as wire.messages.payments.EntryMode orders them.
CREATE TABLE entry_modes (
    entry_mode TEXT PRIMARY KEY,
    weakness INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

INSERT INTO entry_modes VALUES
    ('nfc_app', 0), ('qr_merchant', 1), ('qr_consumer', 2), ('nfc_sdm', 3), ('code_numeric', 4);

-- Keys shared by a batch of NTAG 424 cards, sealed by gateway/vault.py; a batch may be given newer ones.
CREATE TABLE card_key_batches (
    batch_number INTEGER NOT NULL,
    key_version INTEGER NOT NULL CHECK (key_version BETWEEN 1 AND 255),
    meta_key_sealed BLOB NOT NULL,
    file_master_sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (batch_number, key_version)
) STRICT, WITHOUT ROWID;

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
    -- More than this needs the holder's confirmation; NULL: only the wallet's tier says so.
    confirm_above_minor INTEGER CHECK (confirm_above_minor >= 0),
    card_counter INTEGER NOT NULL CHECK (card_counter >= 0),
    card_key_batch INTEGER,
    card_key_version INTEGER,
    created_ms INTEGER NOT NULL,
    FOREIGN KEY (card_key_batch, card_key_version) REFERENCES card_key_batches (batch_number, key_version),
    CHECK ((kind = 'ntag424_card') = (public_key IS NULL)),
    CHECK ((kind = 'ntag424_card') = (card_key_batch IS NOT NULL)),
    CHECK ((card_key_batch IS NULL) = (card_key_version IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX instruments_of_wallet ON instruments (wallet_id);
CREATE INDEX instruments_suspended ON instruments (instrument_id) WHERE status = 'suspended';

-- Cards to be made for wallets. card_key_id is the card an order was begun with, as in instruments.
CREATE TABLE card_orders (
    order_id TEXT PRIMARY KEY,
    code_hash BLOB NOT NULL UNIQUE,
    wallet_id TEXT NOT NULL REFERENCES wallets (wallet_id),
    batch_number INTEGER NOT NULL,
    label TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'cancelled')),
    card_key_id BLOB CHECK (length(card_key_id) = 8),
    instrument_id TEXT REFERENCES instruments (instrument_id),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    CHECK ((state = 'done') = (instrument_id IS NOT NULL)),
    CHECK (state <> 'done' OR card_key_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX card_orders_by_card ON card_orders (card_key_id) WHERE card_key_id IS NOT NULL;

-- Conversations with cards that terminals carry, sealed by gateway/vault.py; each is over within minutes.
CREATE TABLE card_sessions (
    session_id TEXT PRIMARY KEY,
    terminal_id TEXT NOT NULL REFERENCES terminals (terminal_id),
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    step INTEGER NOT NULL CHECK (step >= 0),
    state_sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX card_sessions_of_terminal ON card_sessions (terminal_id, created_ms);
CREATE INDEX card_sessions_over ON card_sessions (expires_ms);

-- NTAG 424 cards that stand for members of staff. One that pays is never among them, nor the other way round.
CREATE TABLE staff_tags (
    key_id BLOB PRIMARY KEY CHECK (length(key_id) = 8),
    staff_id TEXT NOT NULL REFERENCES staff (staff_id),
    card_key_batch INTEGER NOT NULL,
    card_key_version INTEGER NOT NULL,
    card_counter INTEGER NOT NULL CHECK (card_counter >= 0),
    -- The mark of what the last tap was used for.
    last_entry BLOB,
    created_ms INTEGER NOT NULL,
    FOREIGN KEY (card_key_batch, card_key_version) REFERENCES card_key_batches (batch_number, key_version)
) STRICT, WITHOUT ROWID;

CREATE INDEX staff_tags_of_staff ON staff_tags (staff_id);

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

-- What an instrument spent on a day of UTC, holds included; day is unix milliseconds divided by 86,400,000.
-- The last two count the payments of the last window of ten minutes.
CREATE TABLE spent_days (
    instrument_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL CHECK (spent_minor >= 0),
    payment_count INTEGER NOT NULL DEFAULT 0,
    recent_window INTEGER NOT NULL DEFAULT 0,
    recent_count INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, instrument_id)
) STRICT, WITHOUT ROWID;

-- What is charged and held for an order can't exceed what it is for. Details are its tax and line items.
CREATE TABLE orders (
    merchant_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    taken_minor INTEGER NOT NULL CHECK (taken_minor BETWEEN 0 AND amount_minor),
    details BLOB,
    PRIMARY KEY (order_id, merchant_id)
) STRICT, WITHOUT ROWID;

-- Every decided attempt with the names its receipt shows, as they were then. That a merchant's receipts are
-- numbered 1, 2, 3, ... is proved by the audit's walk, not by an index.
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
    -- What of it is kept for a tip at the capture.
    tip_max_minor INTEGER NOT NULL CHECK (tip_max_minor BETWEEN 0 AND amount_minor - 1),
    fee_minor INTEGER NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    currency TEXT NOT NULL,
    entry_mode TEXT NOT NULL,
    is_manual INTEGER NOT NULL CHECK (is_manual IN (0, 1)),
    confirm_code TEXT,
    -- `pin`, `device` or `pin device`.
    confirm_ways TEXT,
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
        ELSE 0 END)
) STRICT, WITHOUT ROWID;

-- What a till did in an hour, for the totals of its shifts. Hours, and not days, because only the last leaf of each
-- till is written to: those of an hour stay in memory.
CREATE INDEX payments_of_hour ON payments (decided_ms / 3600000, terminal_id);

-- One row for every payment that holds money until its deadline; whoever ends or moves it changes this row.
CREATE TABLE open_payments (
    payment_id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('requires_confirmation', 'authorised')),
    due_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX open_payments_due ON open_payments (due_ms, payment_id);

-- What happened to payments after they were decided (gateway/payments/states.py); a plain sale has no row.
CREATE TABLE payment_steps (
    payment_id TEXT NOT NULL,
    step_index INTEGER NOT NULL CHECK (step_index >= 1),
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT,
    request_id TEXT,
    charged_minor INTEGER NOT NULL CHECK (charged_minor >= 0),
    tip_minor INTEGER NOT NULL CHECK (tip_minor BETWEEN 0 AND charged_minor),
    fee_minor INTEGER NOT NULL CHECK (fee_minor BETWEEN 0 AND charged_minor),
    -- What it gave back of its order and of its instrument's day.
    order_released_minor INTEGER NOT NULL CHECK (order_released_minor >= 0),
    day_released_minor INTEGER NOT NULL CHECK (day_released_minor >= 0),
    receipt_number INTEGER,
    group_sequence INTEGER UNIQUE,
    due_ms INTEGER,
    at_ms INTEGER NOT NULL,
    -- Where the payment was made, whoever did this.
    terminal_id TEXT NOT NULL,
    -- Who at the shop answered for it; NULL where nobody had to.
    staff_id TEXT,
    PRIMARY KEY (payment_id, step_index),
    CHECK ((state IN ('requires_confirmation', 'authorised')) = (due_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX payment_steps_of_hour ON payment_steps (at_ms / 3600000, terminal_id);

-- Money given back, each up to a total that no second refund can reach.
CREATE TABLE refunds (
    refund_id TEXT PRIMARY KEY,
    payment_id TEXT NOT NULL,
    terminal_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    total_minor INTEGER NOT NULL CHECK (total_minor >= amount_minor),
    fee_minor INTEGER NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    reason TEXT NOT NULL,
    staff_id TEXT NOT NULL,
    group_sequence INTEGER NOT NULL UNIQUE,
    refunded_ms INTEGER NOT NULL,
    UNIQUE (payment_id, total_minor)
) STRICT, WITHOUT ROWID;

CREATE INDEX refunds_of_day ON refunds (day, terminal_id);

-- Payments without a connection (docs/adr/0008) -----------------------------------------------------------

-- What devices may spend where nobody can be asked; the money is in the credential's own account. `ends_ms` is
-- when no record under it can arrive any more; `listed_ms` when the status list first said that it is suspended.
CREATE TABLE credentials (
    credential_id TEXT PRIMARY KEY,
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    instrument_id TEXT NOT NULL REFERENCES instruments (instrument_id),
    tag BLOB NOT NULL UNIQUE CHECK (length(tag) = 8),
    account_id BLOB NOT NULL UNIQUE REFERENCES accounts (account_id),
    status_index INTEGER NOT NULL CHECK (status_index BETWEEN 0 AND 65535),
    allowance_minor INTEGER NOT NULL CHECK (allowance_minor > 0),
    per_payment_minor INTEGER NOT NULL CHECK (per_payment_minor > 0),
    issued_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL CHECK (expires_ms > issued_ms),
    ends_ms INTEGER NOT NULL CHECK (ends_ms >= expires_ms),
    state TEXT NOT NULL CHECK (state IN ('live', 'replaced', 'ended')),
    listed_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX credentials_live ON credentials (instrument_id) WHERE state = 'live';
CREATE UNIQUE INDEX credentials_status ON credentials (status_index) WHERE state <> 'ended';
CREATE INDEX credentials_of_instrument ON credentials (instrument_id);
CREATE INDEX credentials_listed ON credentials (credential_id) WHERE listed_ms IS NOT NULL;
CREATE INDEX credentials_due ON credentials (ends_ms) WHERE state <> 'ended';

-- The status index that was given last, so that one which is free again rests as long as possible.
CREATE TABLE status_indexes (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    last_index INTEGER NOT NULL CHECK (last_index BETWEEN -1 AND 65535)
) STRICT;

INSERT INTO status_indexes VALUES (1, -1);

-- Every sealed record that was taken from a terminal, once, with the word it got. `payment_id` is its own payment
-- where has_payment, else the one that has its attempt or its tap. What the device signed is kept to be held
-- against what it signs elsewhere; it is NULL where nothing of it is authentic.
CREATE TABLE offline_records (
    terminal_id TEXT NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    link BLOB NOT NULL CHECK (length(link) = 32),
    previous_link BLOB NOT NULL CHECK (length(previous_link) = 32),
    sealed BLOB NOT NULL,
    attempt_id TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    has_payment INTEGER NOT NULL CHECK (has_payment IN (0, 1)),
    outcome TEXT NOT NULL CHECK (outcome IN ('settled', 'declined', 'conflict')),
    code TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    loss_minor INTEGER NOT NULL CHECK (loss_minor BETWEEN 0 AND amount_minor),
    loss_bearer TEXT CHECK (loss_bearer IN ('operator', 'merchant')),
    credential_id TEXT,
    key_id BLOB,
    counter INTEGER,
    running_total_minor INTEGER,
    accepted_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (terminal_id, sequence),
    CHECK ((loss_minor = 0) = (loss_bearer IS NULL)),
    CHECK ((key_id IS NULL) = (counter IS NULL) AND (key_id IS NULL) = (running_total_minor IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX offline_records_of_payment ON offline_records (payment_id) WHERE has_payment = 1;
CREATE INDEX offline_records_of_key ON offline_records (key_id, counter);
CREATE INDEX offline_records_of_key_at ON offline_records (terminal_id, key_id, sequence);
CREATE INDEX offline_records_lost ON offline_records (received_ms) WHERE loss_minor > 0;

-- What somebody should look at; the same thing is said once.
CREATE TABLE offline_alarms (
    terminal_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN (
        'gap', 'chain_broken', 'sequence_conflict', 'attempt_conflict', 'tap_repeated', 'key_copied', 'total_forked'
    )),
    link BLOB NOT NULL CHECK (length(link) = 32),
    payment_id TEXT,
    instrument_id TEXT,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (terminal_id, sequence, kind, link)
) STRICT, WITHOUT ROWID;

CREATE INDEX offline_alarms_at ON offline_alarms (at_ms);

-- Payments as they stand now: the decision, the last step if there is one, the deadline while it is open, and
-- what was refunded; and of one accepted without a connection, what the payer did not cover, NULL of all others.
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
        SELECT r.loss_minor FROM offline_records AS r WHERE r.payment_id = p.payment_id AND r.has_payment = 1
    ) AS offline_loss_minor
FROM payments AS p
    LEFT JOIN payment_steps AS s ON s.payment_id = p.payment_id
        AND s.step_index = (
            SELECT max(x.step_index) FROM payment_steps AS x WHERE x.payment_id = p.payment_id
        )
    LEFT JOIN open_payments AS o ON o.payment_id = p.payment_id;

-- What a till's code asks for. The id is the attempt id under which it is paid, once (docs/adr/0007).
CREATE TABLE intents (
    intent_id TEXT PRIMARY KEY,
    terminal_id TEXT NOT NULL,
    merchant_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    order_amount_minor INTEGER NOT NULL CHECK (order_amount_minor >= 0),
    order_details BLOB,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX intents_of_terminal ON intents (terminal_id, created_ms);

-- What terminals did not ask for themselves, in the order in which it happened.
CREATE TABLE terminal_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    terminal_id TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX terminal_events_of_terminal ON terminal_events (terminal_id, sequence);

-- From when to when a till was worked at. One is open at a till at a time, and none begins before the last one ended.
CREATE TABLE shifts (
    shift_id TEXT PRIMARY KEY,
    terminal_id TEXT NOT NULL REFERENCES terminals (terminal_id),
    opened_ms INTEGER NOT NULL,
    opened_by TEXT REFERENCES staff (staff_id),
    closed_ms INTEGER,
    closed_by TEXT REFERENCES staff (staff_id),
    CHECK (closed_ms >= opened_ms),
    CHECK (closed_ms IS NOT NULL OR closed_by IS NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX shifts_open ON shifts (terminal_id) WHERE closed_ms IS NULL;
CREATE INDEX shifts_of_terminal ON shifts (terminal_id, closed_ms);

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
CREATE TRIGGER payment_steps_never_change BEFORE UPDATE ON payment_steps
BEGIN SELECT RAISE (ABORT, 'payment_steps are append-only'); END;
CREATE TRIGGER payment_steps_never_go BEFORE DELETE ON payment_steps
BEGIN SELECT RAISE (ABORT, 'payment_steps are append-only'); END;
CREATE TRIGGER refunds_never_change BEFORE UPDATE ON refunds
BEGIN SELECT RAISE (ABORT, 'refunds are append-only'); END;
CREATE TRIGGER refunds_never_go BEFORE DELETE ON refunds
BEGIN SELECT RAISE (ABORT, 'refunds are append-only'); END;
CREATE TRIGGER offline_records_never_change BEFORE UPDATE ON offline_records
BEGIN SELECT RAISE (ABORT, 'offline_records are append-only'); END;
CREATE TRIGGER offline_records_never_go BEFORE DELETE ON offline_records
BEGIN SELECT RAISE (ABORT, 'offline_records are append-only'); END;
