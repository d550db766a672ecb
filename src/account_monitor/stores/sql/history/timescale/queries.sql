-- name: policies
-- What the database was told, NULL where it was not.
SELECT
    (SELECT (config ->> 'drop_after')::interval FROM timescaledb_information.jobs
     WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema
     AND hypertable_name = 'pnl_snapshots'),
    (SELECT (config ->> 'compress_after')::interval FROM timescaledb_information.jobs
     WHERE proc_name = 'policy_compression' AND hypertable_schema = current_schema
     AND hypertable_name = 'pnl_snapshots');

-- name: stop_forgetting
SELECT remove_retention_policy('pnl_snapshots', if_exists => true), remove_retention_policy('pnl_1m', if_exists => true);

-- name: forget_after
SELECT add_retention_policy('pnl_snapshots', $1::interval), add_retention_policy('pnl_1m', $1::interval);

-- name: stop_compressing
SELECT remove_compression_policy('pnl_snapshots', if_exists => true);

-- name: compress_after
SELECT add_compression_policy('pnl_snapshots', $1::interval);

-- name: sum_up
-- Each looks back further than its buckets are long, and less far than snapshots are kept.
SELECT
    add_continuous_aggregate_policy(
        'pnl_1m', interval '1 day', interval '1 minute', interval '1 minute', if_not_exists => true
    ),
    add_continuous_aggregate_policy(
        'pnl_1h', interval '3 days', interval '1 hour', interval '15 minutes', if_not_exists => true
    ),
    add_continuous_aggregate_policy(
        'pnl_1d', interval '5 days', interval '1 day', interval '1 hour', if_not_exists => true
    );
