-- name: append_entries
INSERT INTO journal
    (seq, event_id, kind, at_ms, recorded_at_ms, source, position_key, trade_number, symbol, body, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: find_recorded
-- Each id, and of a fill every later record of the same execution, oldest first. CROSS: the ids are the outer loop.
SELECT asked.value, seq, kind, body, source FROM json_each(?1) AS asked
JOIN journal ON journal.event_id = asked.value
UNION ALL
SELECT asked.value, seq, kind, body, source FROM json_each(?1) AS asked
CROSS JOIN journal ON journal.event_id > asked.value || ' r' AND journal.event_id < asked.value || ' s'
ORDER BY seq;

-- name: find_unknown
SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM journal WHERE event_id = value);

-- name: move_head
UPDATE meta SET last_seq = ?, last_hash = ?;

-- name: head
SELECT account, (SELECT max(epoch) FROM epochs), last_seq, last_hash FROM meta;

-- name: base
SELECT base_seq, base_hash FROM meta;

-- name: move_base
UPDATE meta SET base_seq = ?, base_hash = ?;

-- name: newest_entry
SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1;

-- name: name_account
INSERT OR IGNORE INTO meta (one, account, created_at_ms, last_seq, last_hash) VALUES (1, ?, ?, 0, zeroblob(32));

-- name: start_first_epoch
INSERT OR IGNORE INTO epochs (epoch, first_seq, started_at_ms) VALUES (1, 1, ?);

-- name: start_next_epoch
-- The number is the time in seconds: two that were begun from one state must not be taken for one.
INSERT INTO epochs (epoch, first_seq, started_at_ms)
SELECT max((SELECT max(epoch) FROM epochs) + 1, ?1 / 1000), last_seq + 1, ?1 FROM meta;

-- name: begin_epoch
INSERT INTO epochs (epoch, first_seq, started_at_ms) SELECT ?1, last_seq + 1, ?2 FROM meta;

-- name: epochs
SELECT epoch, first_seq, started_at_ms FROM epochs ORDER BY epoch;

-- name: entries
SELECT seq, kind, body, source, recorded_at_ms FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: entries_happened_by
-- Of several records of one execution the last one says when it happened. What a contract settles in holds at any time.
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE seq > ?1 AND seq <= ?2 AND (at_ms <= ?3 OR kind = 'listing')
AND (kind NOT IN ('fill', 'void') OR NOT EXISTS (
    SELECT 1 FROM journal AS later
    WHERE later.event_id > substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 'r'
    AND later.event_id < substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 's'
    AND later.seq > journal.seq AND later.at_ms > ?3
))
ORDER BY seq;

-- name: hash_at
SELECT hash FROM journal WHERE seq = ?;

-- name: newest_entry_by
SELECT seq, hash FROM journal WHERE seq <= ? ORDER BY seq DESC LIMIT 1;

-- name: forget_spent
DELETE FROM spent;

-- name: forget_floors
DELETE FROM floors;

-- name: entries_to_forget
SELECT seq, event_id, kind, at_ms, position_key, trade_number, hash
FROM journal WHERE seq <= ? ORDER BY seq LIMIT ?;

-- name: forget_entries
DELETE FROM journal WHERE seq <= ?;

-- name: forget_checkpoints
DELETE FROM checkpoints WHERE seq < ?;

-- name: spend
INSERT OR IGNORE INTO spent (id) VALUES (?)

-- name: find_spent
SELECT value FROM json_each(?) JOIN spent ON spent.id = unhex(value);

-- name: raise_floor
INSERT INTO floors (position_key, last_number, at_ms, spent_number) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (position_key) DO UPDATE SET
last_number = max(last_number, ?2), at_ms = max(at_ms, ?3), spent_number = max(spent_number, ?4);

-- name: floors
SELECT position_key, last_number, at_ms, spent_number FROM floors;

-- name: horizons
SELECT seq, body FROM journal WHERE kind = 'horizon';

-- name: recorded_at
SELECT recorded_at_ms FROM journal WHERE seq = ?;

-- name: history
SELECT seq, kind, body FROM journal
WHERE position_key = ? AND seq > ? AND seq <= ?
ORDER BY seq LIMIT ?;

-- name: flows
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE kind IN ('funding', 'transfer', 'income', 'charge') AND at_ms >= ?
ORDER BY at_ms, seq;

-- name: latest_remarks
-- `kind IN` repeats what the index is about.
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE kind = ? AND kind IN ('alert', 'reconciliation') AND seq < ?
ORDER BY seq DESC LIMIT ?;

-- name: next_remarks
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE kind = ? AND kind IN ('alert', 'reconciliation') AND seq > ?
ORDER BY seq LIMIT ?;

-- name: latest_deeds
-- No index: `kind` is read beside the body, and few ask.
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE kind = 'deed'
ORDER BY seq DESC LIMIT ?;

-- name: latest_orders
-- No index, as above.
SELECT seq, kind, body, source, recorded_at_ms FROM journal
WHERE source = 'operator'
ORDER BY seq DESC LIMIT ?;

-- name: rows_to_verify
SELECT seq, event_id, kind, at_ms, recorded_at_ms, source, position_key, trade_number, symbol, body, hash
FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: fills
-- Of several records of one execution, the highest revision.
SELECT seq, kind, body, source, recorded_at_ms, at_ms, trade_number FROM journal
WHERE kind = 'fill' AND (at_ms, trade_number, seq) > (?, ?, ?) AND at_ms < ? AND seq <= ?
AND NOT EXISTS (
    SELECT 1 FROM journal AS later
    WHERE later.event_id > substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 'r'
    AND later.event_id < substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 's'
    AND later.seq > journal.seq AND later.seq <= ?
)
ORDER BY at_ms, trade_number, seq LIMIT ?;

-- name: fills_of_symbol
SELECT seq, kind, body, source, recorded_at_ms, at_ms, trade_number FROM journal
WHERE kind = 'fill' AND symbol = ? AND (at_ms, trade_number, seq) > (?, ?, ?) AND at_ms < ? AND seq <= ?
AND NOT EXISTS (
    SELECT 1 FROM journal AS later
    WHERE later.event_id > substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 'r'
    AND later.event_id < substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 's'
    AND later.seq > journal.seq AND later.seq <= ?
)
ORDER BY at_ms, trade_number, seq LIMIT ?;

-- name: numbers_in_time
-- Of several records of one execution, the highest revision.
SELECT at_ms, trade_number FROM journal
WHERE kind = 'fill' AND symbol = ? AND (at_ms, trade_number) > (?, ?) AND trade_number > 0 AND position_key = ?
AND NOT EXISTS (
    SELECT 1 FROM journal AS later
    WHERE later.event_id > substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 'r'
    AND later.event_id < substr(journal.event_id || ' ', 1, instr(journal.event_id || ' ', ' ')) || 's'
    AND later.seq > journal.seq
)
ORDER BY at_ms, trade_number LIMIT ?;

-- name: fill_at
SELECT count(*) FROM journal WHERE seq = ? AND kind = 'fill' AND at_ms = ? AND trade_number = ?;

-- name: move_position
INSERT INTO positions (source, created, sequence) VALUES (?, ?, ?)
ON CONFLICT (source) DO UPDATE SET created = excluded.created, sequence = excluded.sequence;

-- name: positions
SELECT source, created, sequence FROM positions;

-- name: park
INSERT OR IGNORE INTO dead_letters
    (rejection, reason, source, subject, sequence, payload, size, sha256, parked_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: park_again
UPDATE dead_letters SET rejection = ?, reason = ?, retried_at_ms = ? WHERE id = ? AND sha256 = ?;

-- name: mark_retried
UPDATE dead_letters SET retried_at_ms = ? WHERE id = ?;

-- name: drop_oldest_dead_letters
DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?;

-- name: count_dead_letters
SELECT count(*), ifnull(max(id), 0), count(retried_at_ms) FROM dead_letters;

-- name: dead_letters
SELECT id, rejection, reason, source, subject, payload, size, sha256, parked_at_ms, retried_at_ms
FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?;

-- name: dead_letter
SELECT id, rejection, reason, source, subject, payload, size, sha256, parked_at_ms, retried_at_ms
FROM dead_letters WHERE id = ?;

-- name: save_checkpoint
INSERT INTO checkpoints (seq, fingerprint, state) VALUES (?, ?, ?);

-- name: drop_old_checkpoints
-- The newest stay, and of the others, if this program can use them, the first in every so many entries, and the first
-- after every horizon.
DELETE FROM checkpoints WHERE id NOT IN (SELECT id FROM checkpoints ORDER BY id DESC LIMIT ?1) AND (
    fingerprint <> ?2 OR EXISTS (
        SELECT 1 FROM checkpoints AS before
        WHERE before.id < checkpoints.id AND before.fingerprint = ?2 AND before.seq / ?3 = checkpoints.seq / ?3
        AND NOT EXISTS (
            SELECT 1 FROM journal WHERE kind = 'horizon' AND seq > before.seq AND seq <= checkpoints.seq
        )
    )
);

-- name: load_checkpoint
SELECT seq, state FROM checkpoints
WHERE fingerprint = ? AND seq <= min((SELECT last_seq FROM meta), ?)
ORDER BY seq DESC, id DESC LIMIT 1;

-- name: newest_checkpoint
SELECT seq, fingerprint, state FROM checkpoints WHERE seq <= ? ORDER BY seq DESC, id DESC LIMIT 1;

-- name: forget_epochs
DELETE FROM epochs;

-- name: add_epoch
INSERT INTO epochs (epoch, first_seq, started_at_ms) VALUES (?, ?, ?);

-- name: symbols
-- One step in the index for each symbol, however many fills it has; beside them those whose fills are in the history.
WITH RECURSIVE held (symbol) AS (
    SELECT min(symbol) FROM journal WHERE kind = 'fill'
    UNION ALL SELECT (SELECT min(symbol) FROM journal WHERE kind = 'fill' AND symbol > held.symbol) FROM held
    WHERE held.symbol IS NOT NULL
)
SELECT symbol FROM held WHERE symbol IS NOT NULL
UNION SELECT substr(position_key, 1, instr(position_key || ':', ':') - 1) FROM floors ORDER BY symbol;
