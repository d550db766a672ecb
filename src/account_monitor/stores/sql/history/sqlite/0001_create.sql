-- The history of all accounts, in one file. Money is text in plain fixed-point notation: SQLite's numbers are not exact.
-- Times are milliseconds since 1970-01-01 UTC. `PRAGMA application_id` tells the file from any other.
PRAGMA application_id = 1095585097;  -- "AMMI"

-- How far the journal of an account was written here: up to an entry, which its hash names beyond doubt.
CREATE TABLE projections (
    account TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    snapshot_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A copy of the journals. The entries that count are those of the highest epoch that begins at or before them.
CREATE TABLE journal (
    account TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (account, seq, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    account TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (account, epoch)
) STRICT, WITHOUT ROWID;

-- How far a journal had seen its sources when the entry was recorded that is newest here.
CREATE TABLE stream_positions (
    account TEXT NOT NULL,
    source TEXT NOT NULL,
    created TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (account, source)
) STRICT, WITHOUT ROWID;

-- Of each journal, the newest folded state that is as old as the entries here.
CREATE TABLE checkpoints (
    account TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Of several records of one execution, the one that stands. is_counterpart: the second fill of a trade of the account
-- with itself. trade_number: -1 where the id is no number of 63 bits.
CREATE TABLE fills (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    id TEXT NOT NULL,
    is_counterpart INTEGER NOT NULL,
    side TEXT NOT NULL,
    quantity TEXT NOT NULL,
    price TEXT NOT NULL,
    fee TEXT,
    fee_currency TEXT,
    position_side TEXT NOT NULL,
    order_id TEXT,
    maker INTEGER,
    realized_pnl TEXT,
    timestamp INTEGER NOT NULL,
    source TEXT NOT NULL,
    seq INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    trade_number INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, id, is_counterpart)
) STRICT, WITHOUT ROWID;

CREATE INDEX fills_in_venue_order ON fills (account, timestamp, trade_number, seq);

CREATE TABLE alerts (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    symbol TEXT,
    message TEXT NOT NULL,
    value TEXT,
    threshold TEXT,
    cause TEXT,
    timestamp INTEGER NOT NULL,
    resolved_at INTEGER,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX alerts_by_time ON alerts (account, timestamp);

-- drifts, findings, taken_back: JSON, as in the REST interface.
CREATE TABLE reconciliations (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    drifts TEXT NOT NULL,
    findings TEXT NOT NULL,
    finding_count INTEGER NOT NULL,
    correction TEXT,
    taken_back TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX reconciliations_by_time ON reconciliations (account, timestamp);

-- symbol: a position key, NULL for the whole account. NULL among the figures: not known.
CREATE TABLE pnl_snapshots (
    id INTEGER PRIMARY KEY,
    timestamp INTEGER NOT NULL,
    account TEXT NOT NULL,
    symbol TEXT,
    realized_pnl TEXT,
    unrealized_pnl TEXT,
    total_pnl TEXT,
    total_fees TEXT,
    funding TEXT,
    other TEXT,
    net_pnl TEXT,
    equity TEXT,
    win_rate TEXT,
    total_trades INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;

CREATE INDEX pnl_snapshots_by_time ON pnl_snapshots (account, ifnull(symbol, ''), timestamp);
CREATE INDEX pnl_snapshots_by_age ON pnl_snapshots (timestamp);

-- The same, summed up by minute, hour and day of UTC. symbol: empty for the whole account. bucket: when it begins.
CREATE TABLE pnl_1m (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_equity TEXT, first_realized_pnl TEXT, first_unrealized_pnl TEXT, first_total_pnl TEXT,
    first_total_fees TEXT, first_funding TEXT, first_other TEXT, first_net_pnl TEXT, last_equity TEXT,
    last_realized_pnl TEXT, last_unrealized_pnl TEXT, last_total_pnl TEXT, last_total_fees TEXT, last_funding TEXT,
    last_other TEXT, last_net_pnl TEXT, min_equity TEXT, min_realized_pnl TEXT, min_unrealized_pnl TEXT,
    min_total_pnl TEXT, min_net_pnl TEXT, max_equity TEXT, max_realized_pnl TEXT, max_unrealized_pnl TEXT,
    max_total_pnl TEXT, max_net_pnl TEXT,
    PRIMARY KEY (account, symbol, bucket)
) STRICT, WITHOUT ROWID;

CREATE INDEX pnl_1m_by_age ON pnl_1m (bucket);

CREATE TABLE pnl_1h (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_equity TEXT, first_realized_pnl TEXT, first_unrealized_pnl TEXT, first_total_pnl TEXT,
    first_total_fees TEXT, first_funding TEXT, first_other TEXT, first_net_pnl TEXT, last_equity TEXT,
    last_realized_pnl TEXT, last_unrealized_pnl TEXT, last_total_pnl TEXT, last_total_fees TEXT, last_funding TEXT,
    last_other TEXT, last_net_pnl TEXT, min_equity TEXT, min_realized_pnl TEXT, min_unrealized_pnl TEXT,
    min_total_pnl TEXT, min_net_pnl TEXT, max_equity TEXT, max_realized_pnl TEXT, max_unrealized_pnl TEXT,
    max_total_pnl TEXT, max_net_pnl TEXT,
    PRIMARY KEY (account, symbol, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE pnl_1d (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_equity TEXT, first_realized_pnl TEXT, first_unrealized_pnl TEXT, first_total_pnl TEXT,
    first_total_fees TEXT, first_funding TEXT, first_other TEXT, first_net_pnl TEXT, last_equity TEXT,
    last_realized_pnl TEXT, last_unrealized_pnl TEXT, last_total_pnl TEXT, last_total_fees TEXT, last_funding TEXT,
    last_other TEXT, last_net_pnl TEXT, min_equity TEXT, min_realized_pnl TEXT, min_unrealized_pnl TEXT,
    min_total_pnl TEXT, min_net_pnl TEXT, max_equity TEXT, max_realized_pnl TEXT, max_unrealized_pnl TEXT,
    max_total_pnl TEXT, max_net_pnl TEXT,
    PRIMARY KEY (account, symbol, bucket)
) STRICT, WITHOUT ROWID;
