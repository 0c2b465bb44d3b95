-- The books. Amounts are micro-units or counts (package cost), times are Unix microseconds. STRICT refuses what
-- is no integer, so a sum that overflows, which SQLite would make a float of, fails instead of losing digits.

-- A tenant's row is made with the first of its keys, budgets or controls; the global controls are copied then.
CREATE TABLE tenants (
	name TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

-- A vault key. expires 0 is never. No token, no credential.
CREATE TABLE keys (
	tenant  TEXT NOT NULL,
	id      TEXT NOT NULL,
	expires INTEGER NOT NULL,
	frozen  INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_expired ON keys (expires) WHERE expires > 0;

-- A shared budget: what it counts, which never changes, its limit and where it alerts.
CREATE TABLE budgets (
	tenant     TEXT NOT NULL,
	name       TEXT NOT NULL,
	meter      TEXT NOT NULL,
	currency   TEXT NOT NULL,
	most       INTEGER NOT NULL CHECK (most >= 0),
	span       TEXT NOT NULL, -- lifetime, hour, day, month, rolling 24h
	zone       TEXT NOT NULL,
	operations TEXT NOT NULL, -- JSON
	alert_at   TEXT NOT NULL, -- JSON: percentages of the limit
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- What is spent and held in one window of one budget, or in one slot of a rolling one. scope is "shared", or "key:"
-- and the key whose own budget it is; narrowed is the key that was narrowed from it, if it is that one's. A budget
-- that is only observed counts beside the one that is enforced. The row with the newest start is the window that
-- counts, or the slot with which the rolling one ends; what was counted in older ones stays there.
CREATE TABLE amounts (
	tenant   TEXT NOT NULL,
	scope    TEXT NOT NULL,
	narrowed TEXT NOT NULL,
	budget   TEXT NOT NULL,
	observed INTEGER NOT NULL,
	start    INTEGER NOT NULL,
	stop     INTEGER NOT NULL, -- 0: lifetime
	spent    INTEGER NOT NULL,
	held     INTEGER NOT NULL CHECK (held >= 0),
	told     INTEGER NOT NULL DEFAULT 0, -- the highest alert threshold that was crossed in it
	PRIMARY KEY (tenant, scope, narrowed, budget, observed, start)
) STRICT, WITHOUT ROWID;

-- A reservation.
CREATE TABLE holds (
	tenant    TEXT NOT NULL,
	id        TEXT NOT NULL,
	nonce     TEXT NOT NULL,
	key       TEXT NOT NULL,
	operation TEXT NOT NULL,
	object    TEXT NOT NULL,
	phase     TEXT NOT NULL CHECK (phase IN ('in_flight', 'pending', 'in_doubt', 'settled', 'released')),
	deadline  INTEGER NOT NULL,
	memo      TEXT NOT NULL,
	controls  TEXT NOT NULL, -- JSON: the names whose revoke or pause would have stopped it
	parts     TEXT NOT NULL, -- JSON: its part in each budget
	would     TEXT NOT NULL, -- JSON: the observed budgets that would have refused it
	claim     TEXT NOT NULL, -- the idempotency key that it was the first to use, or empty
	first     TEXT NOT NULL, -- an attempt of a retry: the reservation that it joined
	saw       TEXT NOT NULL, -- the pending reservation that carried the object when this one took it up
	probing   INTEGER NOT NULL,
	raised    INTEGER NOT NULL,
	attached  INTEGER NOT NULL, -- how many retries have joined
	over      INTEGER NOT NULL, -- it has cost more than was held
	retry     INTEGER NOT NULL, -- until when it may run; 0 without one
	forget    INTEGER NOT NULL, -- when the row may go; 0 while the reservation is open
	PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX holds_open ON holds (tenant, deadline) WHERE phase IN ('in_flight', 'pending', 'in_doubt');
CREATE INDEX holds_over ON holds (forget) WHERE forget > 0;

-- What was corrected after a settlement, in the order of n.
CREATE TABLE adjustments (
	tenant TEXT NOT NULL,
	hold   TEXT NOT NULL,
	n      INTEGER NOT NULL,
	id     TEXT NOT NULL,
	actual TEXT NOT NULL, -- JSON: all that the reservation has cost, as was known then
	reason TEXT NOT NULL,
	at     INTEGER NOT NULL,
	deltas TEXT NOT NULL, -- JSON: by how much each part moved
	PRIMARY KEY (tenant, hold, n)
) STRICT, WITHOUT ROWID;

-- When a call that a repeat rule counts was admitted: the latest times, in the order of n, which is that of time.
CREATE TABLE repeats (
	tenant   TEXT NOT NULL,
	id       TEXT NOT NULL,
	observed INTEGER NOT NULL, -- counts apart from the rule of the same id that is enforced
	n        INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	forget   INTEGER NOT NULL, -- when it counts no more
	PRIMARY KEY (tenant, id, observed, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX repeats_over ON repeats (forget);

-- What a person should hear of and nobody has acknowledged, in the order of n.
CREATE TABLE alerts (
	n       INTEGER PRIMARY KEY,
	tenant  TEXT NOT NULL,
	id      TEXT NOT NULL,
	kind    TEXT NOT NULL,
	key     TEXT NOT NULL, -- whose own budget it is; empty: shared. Of other kinds the key that it is about
	hold    TEXT NOT NULL, -- the reservation that it is about
	state   TEXT NOT NULL, -- JSON: the budget when it crossed, or once it was overrun
	percent INTEGER NOT NULL,
	excess  INTEGER NOT NULL,
	memo    TEXT NOT NULL,
	at      INTEGER NOT NULL,
	UNIQUE (tenant, id)
) STRICT;
CREATE INDEX alerts_order ON alerts (tenant, n);

-- The ids of alerts that were given, which are stored once.
CREATE TABLE told (
	tenant TEXT NOT NULL,
	id     TEXT NOT NULL,
	until  INTEGER NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_over ON told (until);

-- Who has a thing for a while. A row that is over is nobody's.
CREATE TABLE leases (
	tenant TEXT NOT NULL,
	name   TEXT NOT NULL,
	holder TEXT NOT NULL,
	until  INTEGER NOT NULL,
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_over ON leases (until);

-- What is kept for a while for the brake. A row that is over is not read any more.
CREATE TABLE texts (
	tenant TEXT NOT NULL,
	name   TEXT NOT NULL,
	until  INTEGER NOT NULL,
	bytes  BLOB NOT NULL,
	PRIMARY KEY (tenant, name)
) STRICT;
CREATE INDEX texts_over ON texts (until);

-- Which reservation an idempotency key belongs to.
CREATE TABLE claims (
	tenant      TEXT NOT NULL,
	id          TEXT NOT NULL,
	hold        TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	at          INTEGER NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

-- Which reservation carries the hold of an object of the vendor.
CREATE TABLE carriers (
	tenant TEXT NOT NULL,
	object TEXT NOT NULL,
	hold   TEXT NOT NULL,
	PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;

-- What is revoked or paused in a tenant; what is not there is neither.
CREATE TABLE controls (
	tenant TEXT NOT NULL,
	name   TEXT NOT NULL,
	verb   TEXT NOT NULL CHECK (verb IN ('revoke', 'pause')),
	reason TEXT NOT NULL,
	at     INTEGER NOT NULL,
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The same for every tenant, those that come later included.
CREATE TABLE globals (
	name   TEXT PRIMARY KEY NOT NULL,
	verb   TEXT NOT NULL CHECK (verb IN ('revoke', 'pause')),
	reason TEXT NOT NULL,
	at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest controls in the order in which they were made, for the processes that watch. tenant is empty for one
-- of every tenant.
CREATE TABLE commands (
	n      INTEGER PRIMARY KEY,
	tenant TEXT NOT NULL,
	name   TEXT NOT NULL,
	verb   TEXT NOT NULL,
	reason TEXT NOT NULL
) STRICT;
