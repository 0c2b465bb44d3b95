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

-- A shared budget: what it counts, which never changes, and its limit.
CREATE TABLE budgets (
	tenant     TEXT NOT NULL,
	name       TEXT NOT NULL,
	meter      TEXT NOT NULL,
	currency   TEXT NOT NULL,
	most       INTEGER NOT NULL CHECK (most >= 0),
	span       TEXT NOT NULL, -- lifetime, hour, day, month
	zone       TEXT NOT NULL,
	operations TEXT NOT NULL, -- JSON
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- What is spent and held in one window of one budget. scope is "shared", or "key:" and the key whose own budget
-- it is. The row with the newest start is the window that counts; what was counted in older ones stays there.
CREATE TABLE amounts (
	tenant TEXT NOT NULL,
	scope  TEXT NOT NULL,
	budget TEXT NOT NULL,
	start  INTEGER NOT NULL,
	stop   INTEGER NOT NULL, -- 0: lifetime
	spent  INTEGER NOT NULL,
	held   INTEGER NOT NULL CHECK (held >= 0),
	PRIMARY KEY (tenant, scope, budget, start)
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
	parts     TEXT NOT NULL, -- JSON: its part in each budget
	claim     TEXT NOT NULL, -- the idempotency key that it was the first to use, or empty
	first     TEXT NOT NULL, -- an attempt of a retry: the reservation that it joined
	saw       TEXT NOT NULL, -- the pending reservation that carried the object when this one took it up
	probing   INTEGER NOT NULL,
	raised    INTEGER NOT NULL,
	attached  INTEGER NOT NULL, -- a retry has joined
	retry     INTEGER NOT NULL, -- until when it may run; 0 without one
	forget    INTEGER NOT NULL, -- when the row may go; 0 while the reservation is open
	PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX holds_unknown ON holds (tenant, deadline) WHERE phase IN ('in_flight', 'in_doubt');
CREATE INDEX holds_over ON holds (forget) WHERE forget > 0;

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
