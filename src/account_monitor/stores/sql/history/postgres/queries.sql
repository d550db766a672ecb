-- Times come and go as milliseconds since 1970-01-01 UTC. Arrays of numbers come as text, such as {1,2,NULL}.
-- pnl_level stands for pnl_1m, pnl_1h or pnl_1d.

-- name: cursor
SELECT epoch, seq, hash, (extract(epoch FROM snapshot_at) * 1000)::bigint FROM projections WHERE account = $1;

-- name: start
INSERT INTO projections (account, epoch, seq, hash, snapshot_at, updated_at)
VALUES ($1, 0, 0, $2, to_timestamp(0 / 1000.0), now()) ON CONFLICT (account) DO NOTHING;

-- name: advance
-- Whether there are entries already after the one from where it moves: by the last of them, which an index has at hand.
UPDATE projections
SET epoch = $2, seq = $3, hash = $4, snapshot_at = to_timestamp($5::bigint / 1000.0), updated_at = now()
WHERE account = $1 AND epoch = $6 AND seq = $7 AND hash = $8 AND snapshot_at = to_timestamp($9::bigint / 1000.0)
RETURNING coalesce((SELECT max(journal.seq) FROM journal WHERE journal.account = $1) > $7, false);

-- name: add_entries
-- An entry may be there already, and another one where the same backup of a journal was put back more than once.
INSERT INTO journal (account, epoch, seq, event_id, kind, at, recorded_at, source, body, hash)
SELECT $1, epoch, seq, event_id, kind, to_timestamp(at_ms / 1000.0), to_timestamp(recorded_ms / 1000.0), source, body::json, hash
FROM unnest(
    $2::text::bigint[], $3::text::bigint[], $4::text[], $5::text[], $6::text::bigint[], $7::text::bigint[],
    $8::text[], $9::text[], $10::bytea[]
) AS new (epoch, seq, event_id, kind, at_ms, recorded_ms, source, body, hash)
ON CONFLICT (account, seq, epoch) DO UPDATE SET
    event_id = excluded.event_id, kind = excluded.kind, at = excluded.at, recorded_at = excluded.recorded_at,
    source = excluded.source, body = excluded.body, hash = excluded.hash
WHERE journal.hash <> excluded.hash;

-- name: set_epochs
INSERT INTO epochs (account, epoch, first_seq, started_at)
SELECT $1, epoch, first_seq, to_timestamp(started_ms / 1000.0)
FROM unnest($2::text::bigint[], $3::text::bigint[], $4::text::bigint[]) AS new (epoch, first_seq, started_ms)
ON CONFLICT (account, epoch) DO UPDATE SET first_seq = excluded.first_seq, started_at = excluded.started_at;

-- name: set_positions
INSERT INTO stream_positions (account, source, created, sequence)
SELECT $1, source, created, sequence FROM unnest($2::text[], $3::text[], $4::text::bigint[]) AS new (source, created, sequence)
ON CONFLICT (account, source) DO UPDATE SET created = excluded.created, sequence = excluded.sequence;

-- name: keep_state
INSERT INTO checkpoints (account, seq, fingerprint, state) VALUES ($1, $2, $3, $4)
ON CONFLICT (account) DO UPDATE SET seq = excluded.seq, fingerprint = excluded.fingerprint, state = excluded.state;

-- name: set_fills
INSERT INTO fills (
    account, symbol, id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
    realized_pnl, timestamp, source, seq, recorded_at, trade_number
)
SELECT
    $1, symbol, id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
    realized_pnl, to_timestamp(at_ms / 1000.0), source, seq, to_timestamp(recorded_ms / 1000.0), trade_number
FROM unnest(
    $2::text[], $3::text[], $4::text::boolean[], $5::text[], $6::text::numeric[], $7::text::numeric[],
    $8::text::numeric[], $9::text[], $10::text[], $11::text[], $12::text::boolean[], $13::text::numeric[],
    $14::text::bigint[], $15::text[], $16::text::bigint[], $17::text::bigint[], $18::text::bigint[]
) AS new (
    symbol, id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
    realized_pnl, at_ms, source, seq, recorded_ms, trade_number
)
ON CONFLICT (account, symbol, id, is_counterpart) DO UPDATE SET
    side = excluded.side, quantity = excluded.quantity, price = excluded.price, fee = excluded.fee,
    fee_currency = excluded.fee_currency, position_side = excluded.position_side, order_id = excluded.order_id,
    maker = excluded.maker, realized_pnl = excluded.realized_pnl, timestamp = excluded.timestamp,
    source = excluded.source, seq = excluded.seq, recorded_at = excluded.recorded_at,
    trade_number = excluded.trade_number;

-- name: set_alerts
INSERT INTO alerts (
    account, id, type, severity, state, symbol, message, value, threshold, cause, timestamp, resolved_at, seq
)
SELECT
    $1, id, type, severity, state, symbol, message, value, threshold, cause, to_timestamp(fired_ms / 1000.0), to_timestamp(resolved_ms / 1000.0), seq
FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text::numeric[], $9::text::numeric[],
    $10::text[], $11::text::bigint[], $12::text::bigint[], $13::text::bigint[]
) AS new (id, type, severity, state, symbol, message, value, threshold, cause, fired_ms, resolved_ms, seq)
ON CONFLICT (account, id) DO UPDATE SET
    severity = excluded.severity, state = excluded.state, message = excluded.message, value = excluded.value,
    threshold = excluded.threshold, cause = excluded.cause, resolved_at = excluded.resolved_at, seq = excluded.seq;

-- name: add_reports
INSERT INTO reconciliations (
    account, id, timestamp, trigger, drifts, findings, finding_count, correction, taken_back, seq
)
SELECT
    $1, id, to_timestamp(at_ms / 1000.0), trigger, drifts::json, findings::json, finding_count, correction, taken_back::json, seq
FROM unnest(
    $2::text[], $3::text::bigint[], $4::text[], $5::text[], $6::text[], $7::text::bigint[], $8::text[], $9::text[],
    $10::text::bigint[]
) AS new (id, at_ms, trigger, drifts, findings, finding_count, correction, taken_back, seq)
ON CONFLICT (account, id) DO NOTHING;

-- name: add_snapshots
INSERT INTO pnl_snapshots (
    account, symbol, timestamp, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl,
    win_rate, total_trades, seq
)
SELECT
    $1, symbol, to_timestamp(at_ms / 1000.0), equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl,
    win_rate, total_trades, seq
FROM unnest(
    $2::text[], $3::text::bigint[], $4::text::numeric[], $5::text::numeric[], $6::text::numeric[],
    $7::text::numeric[], $8::text::numeric[], $9::text::numeric[], $10::text::numeric[], $11::text::numeric[],
    $12::text::numeric[], $13::text::bigint[], $14::text::bigint[]
) AS new (
    symbol, at_ms, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl, win_rate,
    total_trades, seq
);

-- name: roll_up
INSERT INTO pnl_level (
    account, symbol, bucket, count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
)
SELECT
    $1, symbol, to_timestamp(at_ms / 1000.0), count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
FROM unnest(
    $2::text[], $3::text::bigint[], $4::text::bigint[], $5::text::numeric[], $6::text::numeric[], $7::text::numeric[],
    $8::text::numeric[], $9::text::numeric[], $10::text::numeric[], $11::text::numeric[], $12::text::numeric[],
    $13::text::numeric[], $14::text::numeric[], $15::text::numeric[], $16::text::numeric[], $17::text::numeric[],
    $18::text::numeric[], $19::text::numeric[], $20::text::numeric[], $21::text::numeric[], $22::text::numeric[],
    $23::text::numeric[], $24::text::numeric[], $25::text::numeric[], $26::text::numeric[], $27::text::numeric[],
    $28::text::numeric[], $29::text::numeric[], $30::text::numeric[]
) AS new (
    symbol, at_ms, count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
)
ON CONFLICT (account, symbol, bucket) DO UPDATE SET
    count = pnl_level.count + excluded.count, last_equity = excluded.last_equity,
    last_realized_pnl = excluded.last_realized_pnl, last_unrealized_pnl = excluded.last_unrealized_pnl,
    last_total_pnl = excluded.last_total_pnl, last_total_fees = excluded.last_total_fees,
    last_funding = excluded.last_funding, last_other = excluded.last_other, last_net_pnl = excluded.last_net_pnl,
    min_equity = least(pnl_level.min_equity, excluded.min_equity),
    min_realized_pnl = least(pnl_level.min_realized_pnl, excluded.min_realized_pnl),
    min_unrealized_pnl = least(pnl_level.min_unrealized_pnl, excluded.min_unrealized_pnl),
    min_total_pnl = least(pnl_level.min_total_pnl, excluded.min_total_pnl),
    min_net_pnl = least(pnl_level.min_net_pnl, excluded.min_net_pnl),
    max_equity = greatest(pnl_level.max_equity, excluded.max_equity),
    max_realized_pnl = greatest(pnl_level.max_realized_pnl, excluded.max_realized_pnl),
    max_unrealized_pnl = greatest(pnl_level.max_unrealized_pnl, excluded.max_unrealized_pnl),
    max_total_pnl = greatest(pnl_level.max_total_pnl, excluded.max_total_pnl),
    max_net_pnl = greatest(pnl_level.max_net_pnl, excluded.max_net_pnl);

-- name: forget_fills
DELETE FROM fills WHERE account = $1;

-- name: forget_alerts
DELETE FROM alerts WHERE account = $1;

-- name: forget_reports
DELETE FROM reconciliations WHERE account = $1;

-- name: forget_epochs
DELETE FROM epochs WHERE account = $1;

-- name: forget_state
DELETE FROM checkpoints WHERE account = $1;

-- name: forget_positions
DELETE FROM stream_positions WHERE account = $1;

-- name: forget_place
UPDATE projections SET epoch = 0, seq = 0, hash = $2 WHERE account = $1;

-- name: prune_snapshots
DELETE FROM pnl_snapshots WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM pnl_snapshots WHERE timestamp < to_timestamp($1::bigint / 1000.0) ORDER BY timestamp LIMIT $2
));

-- name: prune_minutes
DELETE FROM pnl_1m WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM pnl_1m WHERE bucket < to_timestamp($1::bigint / 1000.0) ORDER BY bucket LIMIT $2
));

-- name: buckets
SELECT
    (extract(epoch FROM bucket) * 1000)::bigint AS at_ms, count,
    first_equity, first_realized_pnl, first_unrealized_pnl, first_total_pnl, first_total_fees, first_funding,
    first_other, first_net_pnl, last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl,
    last_total_fees, last_funding, last_other, last_net_pnl, min_equity, min_realized_pnl, min_unrealized_pnl,
    min_total_pnl, min_net_pnl, max_equity, max_realized_pnl, max_unrealized_pnl, max_total_pnl, max_net_pnl
FROM pnl_level WHERE account = $1 AND symbol = $2 AND bucket >= to_timestamp($3::bigint / 1000.0) AND bucket < to_timestamp($4::bigint / 1000.0) ORDER BY bucket;

-- name: buckets_joined
SELECT
    (extract(epoch FROM bucket) * 1000)::bigint - (extract(epoch FROM bucket) * 1000)::bigint % $5 AS at_ms, sum(count)::bigint,
    (array_agg(first_equity ORDER BY bucket))[1], (array_agg(first_realized_pnl ORDER BY bucket))[1],
    (array_agg(first_unrealized_pnl ORDER BY bucket))[1], (array_agg(first_total_pnl ORDER BY bucket))[1],
    (array_agg(first_total_fees ORDER BY bucket))[1], (array_agg(first_funding ORDER BY bucket))[1],
    (array_agg(first_other ORDER BY bucket))[1], (array_agg(first_net_pnl ORDER BY bucket))[1],
    (array_agg(last_equity ORDER BY bucket DESC))[1], (array_agg(last_realized_pnl ORDER BY bucket DESC))[1],
    (array_agg(last_unrealized_pnl ORDER BY bucket DESC))[1], (array_agg(last_total_pnl ORDER BY bucket DESC))[1],
    (array_agg(last_total_fees ORDER BY bucket DESC))[1], (array_agg(last_funding ORDER BY bucket DESC))[1],
    (array_agg(last_other ORDER BY bucket DESC))[1], (array_agg(last_net_pnl ORDER BY bucket DESC))[1],
    min(min_equity), min(min_realized_pnl), min(min_unrealized_pnl), min(min_total_pnl), min(min_net_pnl),
    max(max_equity), max(max_realized_pnl), max(max_unrealized_pnl), max(max_total_pnl), max(max_net_pnl)
FROM pnl_level WHERE account = $1 AND symbol = $2 AND bucket >= to_timestamp($3::bigint / 1000.0) AND bucket < to_timestamp($4::bigint / 1000.0)
GROUP BY 1 ORDER BY 1;

-- name: snapshots_joined
SELECT
    (extract(epoch FROM timestamp) * 1000)::bigint - (extract(epoch FROM timestamp) * 1000)::bigint % $5 AS at_ms, count(*),
    (array_agg(equity ORDER BY id))[1], (array_agg(realized_pnl ORDER BY id))[1],
    (array_agg(unrealized_pnl ORDER BY id))[1], (array_agg(total_pnl ORDER BY id))[1],
    (array_agg(total_fees ORDER BY id))[1], (array_agg(funding ORDER BY id))[1],
    (array_agg(other ORDER BY id))[1], (array_agg(net_pnl ORDER BY id))[1],
    (array_agg(equity ORDER BY id DESC))[1],
    (array_agg(realized_pnl ORDER BY id DESC))[1],
    (array_agg(unrealized_pnl ORDER BY id DESC))[1],
    (array_agg(total_pnl ORDER BY id DESC))[1],
    (array_agg(total_fees ORDER BY id DESC))[1],
    (array_agg(funding ORDER BY id DESC))[1],
    (array_agg(other ORDER BY id DESC))[1],
    (array_agg(net_pnl ORDER BY id DESC))[1], min(equity), min(realized_pnl), min(unrealized_pnl),
    min(total_pnl), min(net_pnl), max(equity), max(realized_pnl), max(unrealized_pnl), max(total_pnl), max(net_pnl)
FROM pnl_snapshots
WHERE account = $1 AND coalesce(symbol, '') = $2 AND timestamp >= to_timestamp($3::bigint / 1000.0) AND timestamp < to_timestamp($4::bigint / 1000.0)
GROUP BY 1 ORDER BY 1;

-- name: last_bucket
SELECT last_equity, last_realized_pnl, last_unrealized_pnl, last_total_pnl, last_total_fees, last_funding, last_other, last_net_pnl
FROM pnl_level WHERE account = $1 AND symbol = $2 AND bucket <= to_timestamp($3::bigint / 1000.0) ORDER BY bucket DESC LIMIT 1;

-- name: last_snapshot
SELECT equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, net_pnl
FROM pnl_snapshots WHERE account = $1 AND coalesce(symbol, '') = $2 AND timestamp <= to_timestamp($3::bigint / 1000.0)
ORDER BY timestamp DESC, id DESC LIMIT 1;

-- name: accounts
SELECT account FROM projections ORDER BY account;

-- name: symbols_of_pnl
SELECT DISTINCT symbol FROM pnl_1d WHERE account = $1 AND symbol <> '' ORDER BY symbol;

-- name: symbols_of_alerts
SELECT DISTINCT symbol FROM alerts WHERE account = $1 AND symbol IS NOT NULL ORDER BY symbol;

-- name: snapshots_after
SELECT id, symbol, (extract(epoch FROM timestamp) * 1000)::bigint, equity, realized_pnl, unrealized_pnl, total_pnl,
    total_fees, funding, other, net_pnl, win_rate, total_trades, seq
FROM pnl_snapshots
WHERE account = $1 AND coalesce(symbol, '') = coalesce($2::text, '')
    AND timestamp >= to_timestamp($3::bigint / 1000.0) AND (timestamp, id) > (to_timestamp($3::bigint / 1000.0), $4)
    AND timestamp < to_timestamp($5::bigint / 1000.0)
ORDER BY timestamp, id LIMIT $6;

-- name: alerts_after
SELECT id, type, severity, state, symbol, message, value, threshold, cause, (extract(epoch FROM timestamp) * 1000)::bigint,
    (extract(epoch FROM resolved_at) * 1000)::bigint, seq
FROM alerts
WHERE account = $1 AND ($2::text IS NULL OR symbol = $2)
    AND (timestamp, id) > (to_timestamp($3::bigint / 1000.0), $4) AND timestamp < to_timestamp($5::bigint / 1000.0)
ORDER BY timestamp, id LIMIT $6;

-- name: server
-- What can be asked of a server before there are any tables.
SELECT
    current_schema() AS schema,
    current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE') AS may_create,
    current_setting('server_encoding') AS encoding,
    current_setting('transaction_read_only') = 'on' AS is_read_only,
    pg_database_size(current_database()) AS size_bytes,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
    EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AS has_timescale;

-- name: kept_tables
-- Those that the role that connects may not use: as their owner ($2), or by reading and writing; views are only read.
SELECT relname FROM pg_class
WHERE relname = ANY ($1::text[])
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_versions'))
    AND NOT CASE
        WHEN $2 THEN pg_has_role(relowner, 'USAGE')
        WHEN relkind = 'v' THEN has_table_privilege(oid, 'SELECT')
        ELSE has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')
    END
ORDER BY relname;

-- name: replica_head
SELECT epoch, seq, hash, (extract(epoch FROM clock_timestamp() - updated_at) * 1000)::bigint FROM projections
WHERE account = $1;

-- name: replica_epochs
SELECT epoch, first_seq, (extract(epoch FROM started_at) * 1000)::bigint FROM epochs WHERE account = $1 ORDER BY epoch;

-- name: replica_positions
SELECT source, created, sequence FROM stream_positions WHERE account = $1;

-- name: replica_state
SELECT seq, fingerprint, state FROM checkpoints WHERE account = $1;

-- name: replica_entries
-- The next entries of the chain that counts, which ends at the cursor.
SELECT epoch, seq, kind, (extract(epoch FROM recorded_at) * 1000)::bigint, source, body::text, hash FROM journal
WHERE account = $1 AND seq > $2
AND seq <= least($3, (SELECT seq FROM projections WHERE projections.account = $1)) AND epoch = (
    SELECT max(epochs.epoch) FROM epochs WHERE epochs.account = $1 AND epochs.first_seq <= journal.seq
)
ORDER BY seq LIMIT $4;

-- name: replica_news
-- The same of many accounts, in one question: those that have nothing new cost one step in the index of the cursors.
SELECT mine.account, found.* FROM unnest($1::text[], $2::bigint[]) AS mine (account, after)
JOIN projections ON projections.account = mine.account AND projections.seq > mine.after
CROSS JOIN LATERAL (
    SELECT epoch, journal.seq, kind, (extract(epoch FROM recorded_at) * 1000)::bigint, source, body::text, journal.hash
    FROM journal
    WHERE journal.account = mine.account AND journal.seq > mine.after AND journal.seq <= projections.seq AND epoch = (
        SELECT max(epochs.epoch) FROM epochs
        WHERE epochs.account = mine.account AND epochs.first_seq <= journal.seq
    )
    ORDER BY journal.seq LIMIT $3
) AS found
ORDER BY mine.account, found.seq;

-- name: fills
-- In venue order, with the entry of each: of the highest epoch that begins at or before it.
SELECT fills.seq, kind, body::text, journal.source, (extract(epoch FROM journal.recorded_at) * 1000)::bigint FROM fills
JOIN journal ON journal.account = fills.account AND journal.seq = fills.seq AND journal.epoch = (
    SELECT max(epochs.epoch) FROM epochs WHERE epochs.account = $1 AND epochs.first_seq <= fills.seq
)
WHERE fills.account = $1 AND (fills.timestamp, fills.trade_number, fills.seq) > (to_timestamp($2::bigint / 1000.0), $3, $4)
AND fills.timestamp < to_timestamp($5::bigint / 1000.0) AND fills.seq <= $6 AND ($7::text IS NULL OR fills.symbol = $7)
ORDER BY fills.timestamp, fills.trade_number, fills.seq LIMIT $8;
