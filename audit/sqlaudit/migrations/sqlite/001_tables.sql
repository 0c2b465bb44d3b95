-- What each table is for is in docs/audit.md. Times are Unix microseconds and 0 where there is none, durations are
-- microseconds, days are YYYY-MM-DD of UTC, amounts are micro-units or counts, and yes and no are 1 and 0.

CREATE TABLE keybrake_records (
	seq         INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	time        INTEGER NOT NULL,
	kind        TEXT NOT NULL,
	tenant      TEXT NOT NULL,
	agent       TEXT NOT NULL,
	run         TEXT NOT NULL,
	vault_key   TEXT NOT NULL,
	call        TEXT NOT NULL,
	reservation TEXT NOT NULL,
	vendor      TEXT NOT NULL,
	operation   TEXT NOT NULL,
	class       TEXT NOT NULL,
	verdict     TEXT NOT NULL,
	outcome     TEXT NOT NULL,
	reason      TEXT NOT NULL,
	refusals    INTEGER NOT NULL,
	writer      TEXT NOT NULL,
	n           INTEGER NOT NULL,
	line        TEXT NOT NULL
) STRICT;
CREATE INDEX keybrake_records_by_writer ON keybrake_records (writer, n, id);
CREATE INDEX keybrake_records_by_time ON keybrake_records (time, id);
CREATE INDEX keybrake_records_by_run ON keybrake_records (tenant, run, time, id);
CREATE INDEX keybrake_records_by_call ON keybrake_records (tenant, call) WHERE call <> '';
CREATE INDEX keybrake_records_by_reservation ON keybrake_records (tenant, reservation) WHERE reservation <> '';

CREATE TABLE keybrake_repeats (
	id     TEXT NOT NULL,
	writer TEXT NOT NULL,
	n      INTEGER NOT NULL,
	line   TEXT NOT NULL,
	PRIMARY KEY (id, writer, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_repeats_by_writer ON keybrake_repeats (writer, n, id);

CREATE TABLE keybrake_kept (
	id          TEXT NOT NULL PRIMARY KEY,
	tenant      TEXT NOT NULL,
	call        TEXT NOT NULL,
	reservation TEXT NOT NULL,
	line        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_kept_by_call ON keybrake_kept (tenant, call) WHERE call <> '';
CREATE INDEX keybrake_kept_by_reservation ON keybrake_kept (tenant, reservation) WHERE reservation <> '';

CREATE TABLE keybrake_cuts (
	writer TEXT NOT NULL PRIMARY KEY,
	n      INTEGER NOT NULL,
	hash   TEXT NOT NULL,
	before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keybrake_calls (
	tenant      TEXT NOT NULL,
	call        TEXT NOT NULL,
	reservation TEXT NOT NULL,
	counted     INTEGER NOT NULL,
	attached    INTEGER NOT NULL,
	day         TEXT NOT NULL,
	agent       TEXT NOT NULL,
	run         TEXT NOT NULL,
	vault_key   TEXT NOT NULL,
	tool        TEXT NOT NULL,
	step        TEXT NOT NULL,
	policy      TEXT NOT NULL,
	customer    TEXT NOT NULL,
	vendor      TEXT NOT NULL,
	credential  TEXT NOT NULL,
	operation   TEXT NOT NULL,
	class       TEXT NOT NULL,
	verdict     TEXT NOT NULL,
	state       TEXT NOT NULL,
	reason      TEXT NOT NULL,
	detail      TEXT NOT NULL,
	flag        TEXT NOT NULL,
	status      INTEGER NOT NULL,
	vendor_request TEXT NOT NULL,
	error       TEXT NOT NULL,
	refusals    INTEGER NOT NULL,
	began       INTEGER NOT NULL,
	ended       INTEGER NOT NULL,
	changed     INTEGER NOT NULL,
	doubt_since INTEGER NOT NULL,
	duration    INTEGER NOT NULL,
	own_duration INTEGER NOT NULL,
	ledger_duration INTEGER NOT NULL,
	vendor_duration INTEGER NOT NULL,
	PRIMARY KEY (tenant, call)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_calls_by_run ON keybrake_calls (tenant, run, began);
CREATE INDEX keybrake_calls_unfinished ON keybrake_calls (state, tenant, began) WHERE state IN ('open', 'in_doubt', 'pending');

CREATE TABLE keybrake_amounts (
	tenant   TEXT NOT NULL,
	call     TEXT NOT NULL,
	meter    TEXT NOT NULL,
	currency TEXT NOT NULL,
	reserved INTEGER NOT NULL,
	actual   INTEGER NOT NULL,
	held     INTEGER NOT NULL,
	PRIMARY KEY (tenant, call, meter, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE keybrake_spend (
	day        TEXT NOT NULL,
	tenant     TEXT NOT NULL,
	agent      TEXT NOT NULL,
	run        TEXT NOT NULL,
	vendor     TEXT NOT NULL,
	credential TEXT NOT NULL,
	operation  TEXT NOT NULL,
	meter      TEXT NOT NULL,
	currency   TEXT NOT NULL,
	removed    INTEGER NOT NULL,
	calls      INTEGER NOT NULL,
	actual     INTEGER NOT NULL,
	held       INTEGER NOT NULL,
	PRIMARY KEY (day, tenant, agent, run, vendor, credential, operation, meter, currency, removed)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_spend_by_run ON keybrake_spend (tenant, run);

CREATE TABLE keybrake_denials (
	day       TEXT NOT NULL,
	tenant    TEXT NOT NULL,
	agent     TEXT NOT NULL,
	run       TEXT NOT NULL,
	vault_key TEXT NOT NULL,
	vendor    TEXT NOT NULL,
	operation TEXT NOT NULL,
	reason    TEXT NOT NULL,
	policy    TEXT NOT NULL,
	owner     TEXT NOT NULL,
	rule      INTEGER NOT NULL,
	param     TEXT NOT NULL,
	budget    TEXT NOT NULL,
	removed   INTEGER NOT NULL,
	refusals  INTEGER NOT NULL,
	PRIMARY KEY (day, tenant, agent, run, vault_key, vendor, operation, reason, policy, owner, rule, param, budget, removed)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_denials_by_run ON keybrake_denials (tenant, run);

CREATE TABLE keybrake_budgets (
	tenant    TEXT NOT NULL,
	run       TEXT NOT NULL,
	vault_key TEXT NOT NULL,
	owner     TEXT NOT NULL,
	budget    TEXT NOT NULL,
	shared    INTEGER NOT NULL,
	meter     TEXT NOT NULL,
	currency  TEXT NOT NULL,
	reset     INTEGER NOT NULL,
	agent     TEXT NOT NULL,
	last      INTEGER NOT NULL,
	last_id   TEXT NOT NULL,
	cap       INTEGER NOT NULL,
	spent     INTEGER NOT NULL,
	held      INTEGER NOT NULL,
	peak      INTEGER NOT NULL,
	used      INTEGER NOT NULL,
	PRIMARY KEY (tenant, run, vault_key, owner, budget, shared, meter, currency, reset)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_budgets_by_use ON keybrake_budgets (used, last);

CREATE TABLE keybrake_runs (
	tenant TEXT NOT NULL,
	run    TEXT NOT NULL,
	agent  TEXT NOT NULL,
	first  INTEGER NOT NULL,
	last   INTEGER NOT NULL,
	PRIMARY KEY (tenant, run, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_runs_by_time ON keybrake_runs (tenant, first);

CREATE TABLE keybrake_labels (
	tenant TEXT NOT NULL,
	label  TEXT NOT NULL,
	run    TEXT NOT NULL,
	PRIMARY KEY (tenant, label, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX keybrake_labels_by_run ON keybrake_labels (tenant, run);

CREATE TABLE keybrake_vendor_figures (
	day        TEXT NOT NULL,
	vendor     TEXT NOT NULL,
	credential TEXT NOT NULL,
	run        TEXT NOT NULL,
	meter      TEXT NOT NULL,
	currency   TEXT NOT NULL,
	amount     INTEGER NOT NULL,
	asked      INTEGER NOT NULL,
	PRIMARY KEY (day, vendor, credential, run, meter, currency)
) STRICT, WITHOUT ROWID;
