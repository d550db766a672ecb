-- Without TimescaleDB: P&L summed up by minute, hour and day of UTC, kept up by whoever writes the snapshots.
-- symbol: a position key, empty for the whole account. bucket: when it begins.
CREATE INDEX pnl_snapshots_by_age ON pnl_snapshots (timestamp);

CREATE TABLE pnl_1m (
    account text NOT NULL,
    symbol text NOT NULL,
    bucket timestamptz NOT NULL,
    count bigint NOT NULL,
    first_equity numeric, first_realized_pnl numeric, first_unrealized_pnl numeric, first_total_pnl numeric,
    first_total_fees numeric, first_funding numeric, first_other numeric, first_net_pnl numeric,
    last_equity numeric, last_realized_pnl numeric, last_unrealized_pnl numeric, last_total_pnl numeric,
    last_total_fees numeric, last_funding numeric, last_other numeric, last_net_pnl numeric, min_equity numeric,
    min_realized_pnl numeric, min_unrealized_pnl numeric, min_total_pnl numeric, min_net_pnl numeric,
    max_equity numeric, max_realized_pnl numeric, max_unrealized_pnl numeric, max_total_pnl numeric,
    max_net_pnl numeric,
    PRIMARY KEY (account, symbol, bucket)
);

CREATE INDEX pnl_1m_by_age ON pnl_1m (bucket);

CREATE TABLE pnl_1h (
    account text NOT NULL,
    symbol text NOT NULL,
    bucket timestamptz NOT NULL,
    count bigint NOT NULL,
    first_equity numeric, first_realized_pnl numeric, first_unrealized_pnl numeric, first_total_pnl numeric,
    first_total_fees numeric, first_funding numeric, first_other numeric, first_net_pnl numeric,
    last_equity numeric, last_realized_pnl numeric, last_unrealized_pnl numeric, last_total_pnl numeric,
    last_total_fees numeric, last_funding numeric, last_other numeric, last_net_pnl numeric, min_equity numeric,
    min_realized_pnl numeric, min_unrealized_pnl numeric, min_total_pnl numeric, min_net_pnl numeric,
    max_equity numeric, max_realized_pnl numeric, max_unrealized_pnl numeric, max_total_pnl numeric,
    max_net_pnl numeric,
    PRIMARY KEY (account, symbol, bucket)
);

CREATE TABLE pnl_1d (
    account text NOT NULL,
    symbol text NOT NULL,
    bucket timestamptz NOT NULL,
    count bigint NOT NULL,
    first_equity numeric, first_realized_pnl numeric, first_unrealized_pnl numeric, first_total_pnl numeric,
    first_total_fees numeric, first_funding numeric, first_other numeric, first_net_pnl numeric,
    last_equity numeric, last_realized_pnl numeric, last_unrealized_pnl numeric, last_total_pnl numeric,
    last_total_fees numeric, last_funding numeric, last_other numeric, last_net_pnl numeric, min_equity numeric,
    min_realized_pnl numeric, min_unrealized_pnl numeric, min_total_pnl numeric, min_net_pnl numeric,
    max_equity numeric, max_realized_pnl numeric, max_unrealized_pnl numeric, max_total_pnl numeric,
    max_net_pnl numeric,
    PRIMARY KEY (account, symbol, bucket)
);
