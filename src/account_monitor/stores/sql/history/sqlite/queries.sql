-- pnl_level stands for pnl_1m, pnl_1h or pnl_1d.

-- name: cursor
SELECT epoch, seq, hash, snapshot_at FROM projections WHERE account = ?;

-- name: start
INSERT OR IGNORE INTO projections (account, epoch, seq, hash, snapshot_at, updated_at) VALUES (?, 0, 0, zeroblob(32), 0, 0);

-- name: advance
UPDATE projections SET epoch = ?2, seq = ?3, hash = ?4, snapshot_at = ?5, updated_at = ?10
WHERE account = ?1 AND epoch = ?6 AND seq = ?7 AND hash = ?8 AND snapshot_at = ?9;

-- name: add_entries
-- An entry may be there already, and another one where the same backup of a journal was put back more than once.
INSERT OR REPLACE INTO journal (account, epoch, seq, event_id, kind, at, recorded_at, source, body, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: set_epoch
INSERT OR REPLACE INTO epochs (account, epoch, first_seq, started_at) VALUES (?, ?, ?, ?);

-- name: set_position
INSERT OR REPLACE INTO stream_positions (account, source, created, sequence) VALUES (?, ?, ?, ?);

-- name: keep_state
INSERT OR REPLACE INTO checkpoints (account, seq, fingerprint, state) VALUES (?, ?, ?, ?);

-- name: set_fill
INSERT OR REPLACE INTO fills (
    account, symbol, id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
    realized_pnl, timestamp, source, seq, recorded_at, trade_number
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: set_alert
INSERT OR REPLACE INTO alerts (
    account, id, type, severity, state, symbol, message, value, threshold, cause, timestamp, resolved_at, seq
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_report
INSERT OR IGNORE INTO reconciliations (
    account, id, timestamp, trigger, drifts, findings, finding_count, correction, taken_back, seq
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_snapshot
INSERT INTO pnl_snapshots (
    account, symbol, timestamp, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl,
    win_rate, total_trades, seq
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: roll_up
INSERT INTO pnl_level (
    account, symbol, bucket, count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, symbol, bucket) DO UPDATE SET
    count = count + excluded.count, last_equity = excluded.last_equity,
    last_realized_pnl = excluded.last_realized_pnl, last_unrealized_pnl = excluded.last_unrealized_pnl,
    last_total_pnl = excluded.last_total_pnl, last_total_fees = excluded.last_total_fees,
    last_funding = excluded.last_funding, last_other = excluded.last_other, last_net_pnl = excluded.last_net_pnl,
    min_equity = decimal_least(min_equity, excluded.min_equity),
    min_realized_pnl = decimal_least(min_realized_pnl, excluded.min_realized_pnl),
    min_unrealized_pnl = decimal_least(min_unrealized_pnl, excluded.min_unrealized_pnl),
    min_total_pnl = decimal_least(min_total_pnl, excluded.min_total_pnl),
    min_net_pnl = decimal_least(min_net_pnl, excluded.min_net_pnl),
    max_equity = decimal_greatest(max_equity, excluded.max_equity),
    max_realized_pnl = decimal_greatest(max_realized_pnl, excluded.max_realized_pnl),
    max_unrealized_pnl = decimal_greatest(max_unrealized_pnl, excluded.max_unrealized_pnl),
    max_total_pnl = decimal_greatest(max_total_pnl, excluded.max_total_pnl),
    max_net_pnl = decimal_greatest(max_net_pnl, excluded.max_net_pnl);

-- name: forget
-- What was written of a journal whose sequence does not continue there any more.
DELETE FROM fills WHERE account = :account;
DELETE FROM alerts WHERE account = :account;
DELETE FROM reconciliations WHERE account = :account;
DELETE FROM epochs WHERE account = :account;
DELETE FROM checkpoints WHERE account = :account;
DELETE FROM stream_positions WHERE account = :account;
UPDATE projections SET epoch = 0, seq = 0, hash = zeroblob(32) WHERE account = :account;

-- name: prune_snapshots
DELETE FROM pnl_snapshots WHERE id IN (SELECT id FROM pnl_snapshots WHERE timestamp < ? ORDER BY timestamp LIMIT ?);

-- name: prune_minutes
DELETE FROM pnl_1m WHERE (account, symbol, bucket) IN (
    SELECT account, symbol, bucket FROM pnl_1m WHERE bucket < ? ORDER BY bucket LIMIT ?
);

-- name: buckets
SELECT
    bucket, count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
FROM pnl_level WHERE account = ? AND symbol = ? AND bucket >= ? AND bucket < ? ORDER BY bucket;

-- name: last_bucket
SELECT last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl, last_total_fees, last_funding, last_other, last_net_pnl
FROM pnl_level WHERE account = ? AND symbol = ? AND bucket <= ? ORDER BY bucket DESC LIMIT 1;

-- name: snapshots
SELECT timestamp, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl
FROM pnl_snapshots WHERE account = ?1 AND ifnull(symbol, '') = ?2 AND timestamp >= ?3 AND timestamp < ?4
ORDER BY timestamp - timestamp % ?5, id;

-- name: last_snapshot
SELECT equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl
FROM pnl_snapshots WHERE account = ? AND ifnull(symbol, '') = ? AND timestamp <= ?
ORDER BY timestamp DESC, id DESC LIMIT 1;

-- name: accounts
SELECT account FROM projections ORDER BY account;

-- name: symbols_of_pnl
SELECT DISTINCT symbol FROM pnl_1d WHERE account = ? AND symbol <> '' ORDER BY symbol;

-- name: symbols_of_alerts
SELECT DISTINCT symbol FROM alerts WHERE account = ? AND symbol IS NOT NULL ORDER BY symbol;

-- name: snapshots_after
SELECT id, symbol, timestamp, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl,
    win_rate, total_trades, seq
FROM pnl_snapshots WHERE account = ? AND ifnull(symbol, '') = ifnull(?, '') AND (timestamp, id) > (?, ?) AND timestamp < ?
ORDER BY timestamp, id LIMIT ?;

-- name: alerts_after
SELECT id, type, severity, state, symbol, message, value, threshold, cause, timestamp, resolved_at, seq
FROM alerts WHERE account = ?1 AND (?2 IS NULL OR symbol = ?2) AND (timestamp, id) > (?3, ?4) AND timestamp < ?5
ORDER BY timestamp, id LIMIT ?6;

-- name: replica_head
SELECT epoch, seq, hash FROM projections WHERE account = ?;

-- name: replica_epochs
SELECT epoch, first_seq, started_at FROM epochs WHERE account = ? ORDER BY epoch;

-- name: replica_positions
SELECT source, created, sequence FROM stream_positions WHERE account = ?;

-- name: replica_state
SELECT seq, fingerprint, state FROM checkpoints WHERE account = ?;

-- name: replica_entries
-- The next entries of the chain that counts, which ends at the cursor.
SELECT epoch, seq, kind, recorded_at, source, body, hash FROM journal
WHERE account = ?1 AND seq > ?2
AND seq <= min(?3, (SELECT seq FROM projections WHERE projections.account = ?1)) AND epoch = (
    SELECT max(epochs.epoch) FROM epochs WHERE epochs.account = ?1 AND epochs.first_seq <= journal.seq
)
ORDER BY seq LIMIT ?4;

-- name: fills
-- In venue order, with the entry of each: of the highest epoch that begins at or before it.
SELECT fills.seq, kind, body, journal.source, journal.recorded_at FROM fills
JOIN journal ON journal.account = fills.account AND journal.seq = fills.seq AND journal.epoch = (
    SELECT max(epochs.epoch) FROM epochs WHERE epochs.account = ?1 AND epochs.first_seq <= fills.seq
)
WHERE fills.account = ?1 AND (fills.timestamp, fills.trade_number, fills.seq) > (?2, ?3, ?4)
AND fills.timestamp < ?5 AND fills.seq <= ?6 AND (?7 IS NULL OR fills.symbol = ?7)
ORDER BY fills.timestamp, fills.trade_number, fills.seq LIMIT ?8;
