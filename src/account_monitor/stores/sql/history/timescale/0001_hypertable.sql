-- With TimescaleDB: P&L in chunks of a day, summed up by minute, hour and day of UTC by the database itself.
-- What was not summed up yet is read from the snapshots. symbol: a position key, empty for the whole account.
-- First and last are those that were written first and last: a clock that was put back changes no order.
SELECT create_hypertable('pnl_snapshots', 'timestamp', chunk_time_interval => interval '1 day');

ALTER TABLE pnl_snapshots SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'account, symbol',
    timescaledb.compress_orderby = 'timestamp'
);

CREATE MATERIALIZED VIEW pnl_1m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    account, coalesce(symbol, '') AS symbol, time_bucket('1 minute', timestamp) AS bucket, count(*) AS count,
    first(equity, id) AS first_equity, first(realized_pnl, id) AS first_realized_pnl,
    first(unrealized_pnl, id) AS first_unrealized_pnl, first(total_pnl, id) AS first_total_pnl,
    first(total_fees, id) AS first_total_fees, first(funding, id) AS first_funding,
    first(other, id) AS first_other, first(net_pnl, id) AS first_net_pnl,
    last(equity, id) AS last_equity, last(realized_pnl, id) AS last_realized_pnl,
    last(unrealized_pnl, id) AS last_unrealized_pnl, last(total_pnl, id) AS last_total_pnl,
    last(total_fees, id) AS last_total_fees, last(funding, id) AS last_funding,
    last(other, id) AS last_other, last(net_pnl, id) AS last_net_pnl, min(equity) AS min_equity,
    min(realized_pnl) AS min_realized_pnl, min(unrealized_pnl) AS min_unrealized_pnl,
    min(total_pnl) AS min_total_pnl, min(net_pnl) AS min_net_pnl, max(equity) AS max_equity,
    max(realized_pnl) AS max_realized_pnl, max(unrealized_pnl) AS max_unrealized_pnl,
    max(total_pnl) AS max_total_pnl, max(net_pnl) AS max_net_pnl
FROM pnl_snapshots
GROUP BY account, coalesce(symbol, ''), time_bucket('1 minute', timestamp)
WITH NO DATA;

CREATE MATERIALIZED VIEW pnl_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    account, coalesce(symbol, '') AS symbol, time_bucket('1 hour', timestamp) AS bucket, count(*) AS count,
    first(equity, id) AS first_equity, first(realized_pnl, id) AS first_realized_pnl,
    first(unrealized_pnl, id) AS first_unrealized_pnl, first(total_pnl, id) AS first_total_pnl,
    first(total_fees, id) AS first_total_fees, first(funding, id) AS first_funding,
    first(other, id) AS first_other, first(net_pnl, id) AS first_net_pnl,
    last(equity, id) AS last_equity, last(realized_pnl, id) AS last_realized_pnl,
    last(unrealized_pnl, id) AS last_unrealized_pnl, last(total_pnl, id) AS last_total_pnl,
    last(total_fees, id) AS last_total_fees, last(funding, id) AS last_funding,
    last(other, id) AS last_other, last(net_pnl, id) AS last_net_pnl, min(equity) AS min_equity,
    min(realized_pnl) AS min_realized_pnl, min(unrealized_pnl) AS min_unrealized_pnl,
    min(total_pnl) AS min_total_pnl, min(net_pnl) AS min_net_pnl, max(equity) AS max_equity,
    max(realized_pnl) AS max_realized_pnl, max(unrealized_pnl) AS max_unrealized_pnl,
    max(total_pnl) AS max_total_pnl, max(net_pnl) AS max_net_pnl
FROM pnl_snapshots
GROUP BY account, coalesce(symbol, ''), time_bucket('1 hour', timestamp)
WITH NO DATA;

CREATE MATERIALIZED VIEW pnl_1d WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    account, coalesce(symbol, '') AS symbol, time_bucket('1 day', timestamp) AS bucket, count(*) AS count,
    first(equity, id) AS first_equity, first(realized_pnl, id) AS first_realized_pnl,
    first(unrealized_pnl, id) AS first_unrealized_pnl, first(total_pnl, id) AS first_total_pnl,
    first(total_fees, id) AS first_total_fees, first(funding, id) AS first_funding,
    first(other, id) AS first_other, first(net_pnl, id) AS first_net_pnl,
    last(equity, id) AS last_equity, last(realized_pnl, id) AS last_realized_pnl,
    last(unrealized_pnl, id) AS last_unrealized_pnl, last(total_pnl, id) AS last_total_pnl,
    last(total_fees, id) AS last_total_fees, last(funding, id) AS last_funding,
    last(other, id) AS last_other, last(net_pnl, id) AS last_net_pnl, min(equity) AS min_equity,
    min(realized_pnl) AS min_realized_pnl, min(unrealized_pnl) AS min_unrealized_pnl,
    min(total_pnl) AS min_total_pnl, min(net_pnl) AS min_net_pnl, max(equity) AS max_equity,
    max(realized_pnl) AS max_realized_pnl, max(unrealized_pnl) AS max_unrealized_pnl,
    max(total_pnl) AS max_total_pnl, max(net_pnl) AS max_net_pnl
FROM pnl_snapshots
GROUP BY account, coalesce(symbol, ''), time_bucket('1 day', timestamp)
WITH NO DATA;
