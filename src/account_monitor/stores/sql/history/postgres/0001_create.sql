-- The history of all accounts. Money is NUMERIC without a scale: exact, whatever the quantities and prices.
-- Body and lists of reports are json, not jsonb: the hash of an entry covers its text.

-- How far the journal of an account was written here: up to an entry, which its hash names beyond doubt.
CREATE TABLE projections (
    account text PRIMARY KEY,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    snapshot_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- A copy of the journals. The entries that count are those of the highest epoch that begins at or before them.
CREATE TABLE journal (
    account text NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    source text NOT NULL,
    body json NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (account, seq, epoch)
);

CREATE TABLE epochs (
    account text NOT NULL,
    epoch bigint NOT NULL,
    first_seq bigint NOT NULL,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (account, epoch)
);

-- How far a journal had seen its sources when the entry was recorded that is newest here.
CREATE TABLE stream_positions (
    account text NOT NULL,
    source text NOT NULL,
    created text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (account, source)
);

-- Of each journal, the newest folded state that is as old as the entries here.
CREATE TABLE checkpoints (
    account text PRIMARY KEY,
    seq bigint NOT NULL,
    fingerprint text NOT NULL,
    state bytea NOT NULL
);

-- Of several records of one execution, the one that stands. is_counterpart: the second fill of a trade of the account
-- with itself. trade_number: -1 where the id is no number of 63 bits.
CREATE TABLE fills (
    account text NOT NULL,
    symbol text NOT NULL,
    id text NOT NULL,
    is_counterpart boolean NOT NULL,
    side text NOT NULL,
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    fee numeric,
    fee_currency text,
    position_side text NOT NULL,
    order_id text,
    maker boolean,
    realized_pnl numeric,
    timestamp timestamptz NOT NULL,
    source text NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    trade_number bigint NOT NULL,
    PRIMARY KEY (account, symbol, id, is_counterpart)
);

CREATE INDEX fills_in_venue_order ON fills (account, timestamp, trade_number, seq);

CREATE TABLE alerts (
    account text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    severity text NOT NULL,
    state text NOT NULL,
    symbol text,
    message text NOT NULL,
    value numeric,
    threshold numeric,
    cause text,
    timestamp timestamptz NOT NULL,
    resolved_at timestamptz,
    seq bigint NOT NULL,
    PRIMARY KEY (account, id)
);

CREATE INDEX alerts_by_time ON alerts (account, timestamp);

-- drifts, findings, taken_back: JSON, as in the REST interface.
CREATE TABLE reconciliations (
    account text NOT NULL,
    id text NOT NULL,
    timestamp timestamptz NOT NULL,
    trigger text NOT NULL,
    drifts json NOT NULL,
    findings json NOT NULL,
    finding_count bigint NOT NULL,
    correction text,
    taken_back json NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (account, id)
);

CREATE INDEX reconciliations_by_time ON reconciliations (account, timestamp);

-- symbol: a position key, NULL for the whole account. NULL among the figures: not known.
CREATE TABLE pnl_snapshots (
    id bigint GENERATED ALWAYS AS IDENTITY,
    timestamp timestamptz NOT NULL,
    account text NOT NULL,
    symbol text,
    realized_pnl numeric,
    unrealized_pnl numeric,
    total_pnl numeric,
    total_fees numeric,
    funding numeric,
    other numeric,
    net_pnl numeric,
    equity numeric,
    win_rate numeric,
    total_trades bigint NOT NULL,
    seq bigint NOT NULL
);

CREATE INDEX pnl_snapshots_by_time ON pnl_snapshots (account, coalesce(symbol, ''), timestamp);
