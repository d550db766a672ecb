-- Entries up to base_seq are in the history only; base_hash is that of the last of them, with which the chain goes on.
ALTER TABLE meta ADD COLUMN base_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN base_hash BLOB NOT NULL
DEFAULT (x'0000000000000000000000000000000000000000000000000000000000000000');

-- What was recorded and is not here any more, by the first half of the SHA-256 of its identity.
CREATE TABLE spent (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

-- By position: numbered fills up to last_number are final, and of those that are not here any more the latest happened
-- at at_ms. spent_number: the highest number that is in `spent` nevertheless; 0 where there is none.
CREATE TABLE floors (
    position_key TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    spent_number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- They are few, and say at every start what is final.
CREATE INDEX horizons ON journal (kind) WHERE kind = 'horizon';
