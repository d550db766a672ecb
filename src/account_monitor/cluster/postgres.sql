-- Times are those of the server's clock alone: clock_timestamp(), the moment of the statement, not of its transaction.

-- name: is_created
SELECT to_regclass('account_monitor_sessions') IS NOT NULL AND to_regclass('account_monitor_leases') IS NOT NULL;

-- name: create
CREATE TABLE IF NOT EXISTS account_monitor_sessions (
    id text PRIMARY KEY,
    member text NOT NULL,
    card text NOT NULL,
    expires_at timestamptz NOT NULL,
    shown_at timestamptz NOT NULL
) WITH (fillfactor = 50);  -- renewed every few seconds, in place

CREATE TABLE IF NOT EXISTS account_monitor_leases (
    account text PRIMARY KEY,
    epoch bigint NOT NULL,
    session text,
    member text NOT NULL,
    heir text,
    changed_at timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS account_monitor_leases_by_change ON account_monitor_leases (changed_at);

-- name: join
INSERT INTO account_monitor_sessions (id, member, card, expires_at, shown_at)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), clock_timestamp());

-- name: beat
-- One row, whatever the session holds. It waits for whoever ends the session at this moment, and then finds no row. One
-- that is late, and that nobody has ended, goes on: nobody can have taken anything.
UPDATE account_monitor_sessions SET expires_at = clock_timestamp() + make_interval(secs => $2)
WHERE id = $1 RETURNING true;

-- name: show
UPDATE account_monitor_sessions SET card = $2, shown_at = clock_timestamp() WHERE id = $1 RETURNING true;

-- name: leave
DELETE FROM account_monitor_sessions WHERE id = $1;

-- name: end_expired
-- A session that is gone never comes back: what it held is free for good. One that is being renewed now is passed over.
DELETE FROM account_monitor_sessions WHERE id IN (
    SELECT id FROM account_monitor_sessions WHERE expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED
) RETURNING id;

-- name: add_missing
-- What is there is passed over by a condition, which waits for nobody who is changing it, as a conflict does. In one order
-- for all: who waits for the row of another one has none that the other one waits for.
INSERT INTO account_monitor_leases (account, epoch, session, member, heir, changed_at)
SELECT account, 0, NULL, '', NULL, clock_timestamp() FROM unnest($1::text[]) AS wanted (account)
WHERE NOT EXISTS (SELECT 1 FROM account_monitor_leases AS lease WHERE lease.account = wanted.account)
ORDER BY account
ON CONFLICT (account) DO NOTHING;

-- name: lock
-- Those under which a write is being committed, or which somebody else is about to take, are passed over.
SELECT account FROM account_monitor_leases WHERE account = ANY($1::text[]) ORDER BY account FOR UPDATE SKIP LOCKED;

-- name: acquire
-- A statement of its own after the lock: its view of the sessions is younger than that of whoever had the rows before.
UPDATE account_monitor_leases AS lease
SET epoch = greatest(lease.epoch + 1, wanted.above + 1, floor(extract(epoch FROM clock_timestamp()))::bigint),
    session = $1, member = $2, heir = NULL, changed_at = clock_timestamp()
FROM unnest($3::text[], $4::bigint[]) AS wanted (account, above)
WHERE lease.account = wanted.account
AND NOT EXISTS (SELECT 1 FROM account_monitor_sessions WHERE id = lease.session)
AND EXISTS (SELECT 1 FROM account_monitor_sessions WHERE id = $1)
RETURNING lease.account, lease.epoch;

-- name: end_hanging
-- A writer that was frozen or cut off inside a COPY, or between a statement and its arguments, is "active": no timeout of
-- the server ends it, and keepalives only where its machine is gone. Its transaction is named by the rows that it locked.
SELECT lease.account, activity.pid, pg_terminate_backend(activity.pid)
FROM account_monitor_leases AS lease
JOIN pg_locks AS held ON held.locktype = 'transactionid' AND held.granted AND held.transactionid = lease.xmax
JOIN pg_stat_activity AS activity ON activity.pid = held.pid AND activity.usename = current_user
WHERE lease.account = ANY($1::text[])
AND NOT EXISTS (SELECT 1 FROM account_monitor_sessions WHERE id = lease.session)
AND activity.wait_event_type = 'Client'
AND greatest(activity.query_start, activity.state_change) < clock_timestamp() - make_interval(secs => $2);

-- name: release
-- Others are told in the same commit: when many are handed over, each one's heir waits for those before it.
WITH released AS (
    UPDATE account_monitor_leases AS lease SET session = NULL, heir = given.heir, changed_at = clock_timestamp()
    FROM unnest($2::text[], $3::text[]) AS given (account, heir)
    WHERE lease.account = given.account AND lease.session = $1
    RETURNING lease.account
)
SELECT account, pg_notify('account_monitor_leases', '') FROM released;  -- the server tells it once

-- name: members
-- What they say of themselves only where that is younger than a moment.
SELECT id, member, CASE WHEN shown_at > $1 THEN card END, least(shown_at, clock_timestamp()),
    extract(epoch FROM expires_at - clock_timestamp())::float8
FROM account_monitor_sessions;

-- name: changes
-- A time that is still to come, as after a step of the clock, would hide whatever happens until then.
SELECT account, epoch, session, member, heir, least(changed_at, clock_timestamp())
FROM account_monitor_leases WHERE changed_at > $1;

-- name: tell
SELECT pg_notify('account_monitor_leases', $1);

-- name: fence
-- Held until the end of the transaction: a takeover waits for it, and one that was faster makes this find no row. The
-- second condition keeps a holder that does not know yet from writing on and on, so that nobody gets the row. What is
-- committed is flushed, whatever the server does otherwise: operators are told that it is there.
SELECT set_config('idle_in_transaction_session_timeout', $4, true), set_config('synchronous_commit', 'on', true)
FROM account_monitor_leases AS lease
WHERE account = $1 AND epoch = $2 AND session = $3
AND (NOT $5 OR EXISTS (SELECT 1 FROM account_monitor_sessions WHERE id = $3))
FOR SHARE OF lease;

-- name: claimed
SELECT epoch FROM account_monitor_leases WHERE account = $1;

-- name: claim
-- For leases that are held elsewhere: the first who comes with the highest epoch.
INSERT INTO account_monitor_leases AS lease (account, epoch, session, member, heir, changed_at)
VALUES ($1, $2, $3, $4, NULL, clock_timestamp())
ON CONFLICT (account) DO UPDATE
SET epoch = excluded.epoch, session = excluded.session, member = excluded.member, changed_at = excluded.changed_at
WHERE lease.epoch < excluded.epoch OR (lease.epoch = excluded.epoch AND lease.session = excluded.session)
RETURNING true;
