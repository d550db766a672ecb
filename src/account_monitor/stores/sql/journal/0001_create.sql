-- The journal of one account. `PRAGMA application_id` tells it from any other SQLite file.
PRAGMA application_id = 1095584330;  -- "AMJJ"

-- One row. The newest entry is named here too, so that a missing end is seen like a missing middle.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    account TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_hash BLOB NOT NULL
) STRICT;

-- From which entry on an epoch counts; the hash of an entry covers its epoch.
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    started_at_ms INTEGER NOT NULL
) STRICT;

-- position_key: fills, and funding of a known symbol. trade_number: fills; -1 where the trade id is no number of 63 bits,
-- which sorts it before the numbered fills of its millisecond.
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    position_key TEXT,
    trade_number INTEGER,
    symbol TEXT,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Each ends with seq: SQLite appends the row id to every index.
CREATE INDEX journal_by_position ON journal (position_key) WHERE position_key IS NOT NULL;
CREATE INDEX fills_in_venue_order ON journal (at_ms, trade_number) WHERE kind = 'fill';
CREATE INDEX fills_of_symbol ON journal (symbol, at_ms, trade_number) WHERE kind = 'fill';

CREATE TABLE positions (
    source TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Ids start at 1 and only the oldest rows are dropped: the highest id counts all that were ever parked.
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    rejection TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    payload BLOB NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    parked_at_ms INTEGER NOT NULL,
    retried_at_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX dead_letters_by_place ON dead_letters (source, sequence, sha256) WHERE sequence > 0;

CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state BLOB NOT NULL
) STRICT;
