-- The books of one bank. What was done is never changed or taken away: triggers refuse it.

CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Bank accounts. The balance is the sum of the account's entries; the two are moved together.
CREATE TABLE IF NOT EXISTS account (
    pan                   TEXT PRIMARY KEY,
    state                 TEXT NOT NULL CHECK (state IN ('active', 'frozen', 'expired', 'closed')),
    balance_fen           INTEGER NOT NULL CHECK (balance_fen >= 0),
    transaction_limit_fen INTEGER NOT NULL CHECK (transaction_limit_fen >= 0),
    daily_limit_fen       INTEGER NOT NULL CHECK (daily_limit_fen >= 0),
    daily_count_limit     INTEGER NOT NULL CHECK (daily_count_limit >= 0),
    no_pin_limit_fen      INTEGER NOT NULL CHECK (no_pin_limit_fen >= 0),
    pin_check             BLOB,
    pin_failures          INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Every message that was judged, with its answer. moved_fen: what it really moved (0 for a decline, or for a void or
-- reversal of something already undone).
CREATE TABLE IF NOT EXISTS operation (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL CHECK (kind IN ('debit', 'void', 'refund', 'reversal', 'advice')),
    terminal_id     TEXT NOT NULL,
    transmitted     TEXT NOT NULL,
    trace           TEXT NOT NULL,
    reference       TEXT NOT NULL,
    institution_id  TEXT NOT NULL,
    pan             TEXT NOT NULL,
    amount_fen      INTEGER NOT NULL CHECK (amount_fen > 0),
    moved_fen       INTEGER NOT NULL CHECK (moved_fen IN (0, amount_fen)),
    original_id     INTEGER REFERENCES operation (id),
    response_code   TEXT NOT NULL,
    authorisation   TEXT,
    settlement_date TEXT NOT NULL,
    recorded_at     TEXT NOT NULL,
    UNIQUE (kind, terminal_id, transmitted, trace, reference)
) STRICT;

-- A debit is given back whole at most once, whoever asks.
CREATE UNIQUE INDEX IF NOT EXISTS operation_undone_once ON operation (original_id)
    WHERE kind IN ('void', 'reversal') AND moved_fen > 0;
CREATE INDEX IF NOT EXISTS operation_original ON operation (original_id, kind) WHERE original_id IS NOT NULL;

-- What stands of a card's debits on a business day, for its limits; kept with them, so that no debit has to count all.
CREATE TABLE IF NOT EXISTS day_total (
    pan             TEXT NOT NULL,
    settlement_date TEXT NOT NULL,
    total_fen       INTEGER NOT NULL,
    debits          INTEGER NOT NULL,
    PRIMARY KEY (pan, settlement_date)
) STRICT;

-- What moved on which account; a row without an operation is an opening balance or a correction by the operator.
CREATE TABLE IF NOT EXISTS entry (
    id           INTEGER PRIMARY KEY,
    operation_id INTEGER UNIQUE REFERENCES operation (id),
    pan          TEXT NOT NULL REFERENCES account (pan),
    amount_fen   INTEGER NOT NULL CHECK (amount_fen <> 0),
    recorded_at  TEXT NOT NULL
) STRICT;

-- Reversals that came before their debit: the late debit is refused.
CREATE TABLE IF NOT EXISTS tombstone (
    terminal_id TEXT NOT NULL,
    transmitted TEXT NOT NULL,
    trace       TEXT NOT NULL,
    reference   TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (terminal_id, transmitted, trace, reference)
) STRICT;

-- Every frame received or sent; the account number masked.
CREATE TABLE IF NOT EXISTS frame_log (
    id              INTEGER PRIMARY KEY,
    recorded_at     TEXT NOT NULL,
    direction       TEXT NOT NULL CHECK (direction IN ('received', 'sent')),
    mti             TEXT NOT NULL,
    processing_code TEXT NOT NULL,
    network_code    TEXT NOT NULL,
    terminal_id     TEXT NOT NULL,
    transmitted     TEXT NOT NULL,
    trace           TEXT NOT NULL,
    reference       TEXT NOT NULL,
    pan             TEXT NOT NULL,
    amount_fen      INTEGER,
    response_code   TEXT NOT NULL,
    note            TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS frame_log_reference ON frame_log (reference);

CREATE TRIGGER IF NOT EXISTS operation_kept_u BEFORE UPDATE ON operation BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS operation_kept_d BEFORE DELETE ON operation BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS entry_kept_u BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS entry_kept_d BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS tombstone_kept_u BEFORE UPDATE ON tombstone BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS tombstone_kept_d BEFORE DELETE ON tombstone BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS frame_log_kept_u BEFORE UPDATE ON frame_log BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS frame_log_kept_d BEFORE DELETE ON frame_log BEGIN SELECT RAISE(ABORT, 'append only'); END;
