-- What each table is for is in docs/audit.md. Times are Unix microseconds and 0 where there is none, durations are
-- microseconds, days are YYYY-MM-DD of UTC, amounts are micro-units or counts, and yes and no are 1 and 0.

CREATE TABLE keybrake_records (
	seq         bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
	id          text     COLLATE "C" NOT NULL PRIMARY KEY,
	time        bigint   NOT NULL,
	kind        text     COLLATE "C" NOT NULL,
	tenant      text     COLLATE "C" NOT NULL,
	agent       text     COLLATE "C" NOT NULL,
	run         text     COLLATE "C" NOT NULL,
	vault_key   text     COLLATE "C" NOT NULL,
	call        text     COLLATE "C" NOT NULL,
	reservation text     COLLATE "C" NOT NULL,
	vendor      text     COLLATE "C" NOT NULL,
	operation   text     COLLATE "C" NOT NULL,
	class       text     COLLATE "C" NOT NULL,
	verdict     text     COLLATE "C" NOT NULL,
	outcome     text     COLLATE "C" NOT NULL,
	reason      text     COLLATE "C" NOT NULL,
	refusals    bigint   NOT NULL,
	writer      text     COLLATE "C" NOT NULL,
	n           bigint   NOT NULL,
	line        text     COLLATE "C" NOT NULL
);
CREATE INDEX keybrake_records_by_writer ON keybrake_records (writer, n, id);
CREATE INDEX keybrake_records_by_time ON keybrake_records (time, id);
CREATE INDEX keybrake_records_by_run ON keybrake_records (tenant, run, time, id);
CREATE INDEX keybrake_records_by_call ON keybrake_records (tenant, call) WHERE call <> '';
CREATE INDEX keybrake_records_by_reservation ON keybrake_records (tenant, reservation) WHERE reservation <> '';

CREATE TABLE keybrake_repeats (
	id     text   COLLATE "C" NOT NULL,
	writer text   COLLATE "C" NOT NULL,
	n      bigint NOT NULL,
	line   text   COLLATE "C" NOT NULL,
	PRIMARY KEY (id, writer, n)
);
CREATE INDEX keybrake_repeats_by_writer ON keybrake_repeats (writer, n, id);

CREATE TABLE keybrake_kept (
	id          text COLLATE "C" NOT NULL PRIMARY KEY,
	tenant      text COLLATE "C" NOT NULL,
	call        text COLLATE "C" NOT NULL,
	reservation text COLLATE "C" NOT NULL,
	line        text COLLATE "C" NOT NULL
);
CREATE INDEX keybrake_kept_by_call ON keybrake_kept (tenant, call) WHERE call <> '';
CREATE INDEX keybrake_kept_by_reservation ON keybrake_kept (tenant, reservation) WHERE reservation <> '';

CREATE TABLE keybrake_cuts (
	writer text   COLLATE "C" NOT NULL PRIMARY KEY,
	n      bigint NOT NULL,
	hash   text   COLLATE "C" NOT NULL,
	before bigint NOT NULL
);

CREATE TABLE keybrake_calls (
	tenant      text   COLLATE "C" NOT NULL,
	call        text   COLLATE "C" NOT NULL,
	reservation text   COLLATE "C" NOT NULL,
	counted     bigint NOT NULL,
	attached    bigint NOT NULL,
	day         text   COLLATE "C" NOT NULL,
	agent       text   COLLATE "C" NOT NULL,
	run         text   COLLATE "C" NOT NULL,
	vault_key   text   COLLATE "C" NOT NULL,
	tool        text   COLLATE "C" NOT NULL,
	step        text   COLLATE "C" NOT NULL,
	policy      text   COLLATE "C" NOT NULL,
	customer    text   COLLATE "C" NOT NULL,
	vendor      text   COLLATE "C" NOT NULL,
	credential  text   COLLATE "C" NOT NULL,
	operation   text   COLLATE "C" NOT NULL,
	class       text   COLLATE "C" NOT NULL,
	verdict     text   COLLATE "C" NOT NULL,
	state       text   COLLATE "C" NOT NULL,
	reason      text   COLLATE "C" NOT NULL,
	detail      text   COLLATE "C" NOT NULL,
	flag        text   COLLATE "C" NOT NULL,
	status      bigint NOT NULL,
	vendor_request text COLLATE "C" NOT NULL,
	error       text   COLLATE "C" NOT NULL,
	refusals    bigint NOT NULL,
	began       bigint NOT NULL,
	ended       bigint NOT NULL,
	changed     bigint NOT NULL,
	doubt_since bigint NOT NULL,
	duration    bigint NOT NULL,
	own_duration bigint NOT NULL,
	ledger_duration bigint NOT NULL,
	vendor_duration bigint NOT NULL,
	PRIMARY KEY (tenant, call)
);
CREATE INDEX keybrake_calls_by_run ON keybrake_calls (tenant, run, began);
CREATE INDEX keybrake_calls_unfinished ON keybrake_calls (state, tenant, began) WHERE state IN ('open', 'in_doubt', 'pending');

CREATE TABLE keybrake_amounts (
	tenant   text   COLLATE "C" NOT NULL,
	call     text   COLLATE "C" NOT NULL,
	meter    text   COLLATE "C" NOT NULL,
	currency text   COLLATE "C" NOT NULL,
	reserved bigint NOT NULL,
	actual   bigint NOT NULL,
	held     bigint NOT NULL,
	PRIMARY KEY (tenant, call, meter, currency)
);

CREATE TABLE keybrake_spend (
	day        text   COLLATE "C" NOT NULL,
	tenant     text   COLLATE "C" NOT NULL,
	agent      text   COLLATE "C" NOT NULL,
	run        text   COLLATE "C" NOT NULL,
	vendor     text   COLLATE "C" NOT NULL,
	credential text   COLLATE "C" NOT NULL,
	operation  text   COLLATE "C" NOT NULL,
	meter      text   COLLATE "C" NOT NULL,
	currency   text   COLLATE "C" NOT NULL,
	removed    bigint NOT NULL,
	calls      bigint NOT NULL,
	actual     bigint NOT NULL,
	held       bigint NOT NULL,
	PRIMARY KEY (day, tenant, agent, run, vendor, credential, operation, meter, currency, removed)
);
CREATE INDEX keybrake_spend_by_run ON keybrake_spend (tenant, run);

CREATE TABLE keybrake_denials (
	day       text   COLLATE "C" NOT NULL,
	tenant    text   COLLATE "C" NOT NULL,
	agent     text   COLLATE "C" NOT NULL,
	run       text   COLLATE "C" NOT NULL,
	vault_key text   COLLATE "C" NOT NULL,
	vendor    text   COLLATE "C" NOT NULL,
	operation text   COLLATE "C" NOT NULL,
	reason    text   COLLATE "C" NOT NULL,
	policy    text   COLLATE "C" NOT NULL,
	owner     text   COLLATE "C" NOT NULL,
	rule      bigint NOT NULL,
	param     text   COLLATE "C" NOT NULL,
	budget    text   COLLATE "C" NOT NULL,
	removed   bigint NOT NULL,
	refusals  bigint NOT NULL,
	PRIMARY KEY (day, tenant, agent, run, vault_key, vendor, operation, reason, policy, owner, rule, param, budget, removed)
);
CREATE INDEX keybrake_denials_by_run ON keybrake_denials (tenant, run);

CREATE TABLE keybrake_budgets (
	tenant    text   COLLATE "C" NOT NULL,
	run       text   COLLATE "C" NOT NULL,
	vault_key text   COLLATE "C" NOT NULL,
	owner     text   COLLATE "C" NOT NULL,
	budget    text   COLLATE "C" NOT NULL,
	shared    bigint NOT NULL,
	meter     text   COLLATE "C" NOT NULL,
	currency  text   COLLATE "C" NOT NULL,
	reset     bigint NOT NULL,
	agent     text   COLLATE "C" NOT NULL,
	last      bigint NOT NULL,
	last_id   text   COLLATE "C" NOT NULL,
	cap       bigint NOT NULL,
	spent     bigint NOT NULL,
	held      bigint NOT NULL,
	peak      bigint NOT NULL,
	used      bigint NOT NULL,
	PRIMARY KEY (tenant, run, vault_key, owner, budget, shared, meter, currency, reset)
);
CREATE INDEX keybrake_budgets_by_use ON keybrake_budgets (used, last);

CREATE TABLE keybrake_runs (
	tenant text   COLLATE "C" NOT NULL,
	run    text   COLLATE "C" NOT NULL,
	agent  text   COLLATE "C" NOT NULL,
	first  bigint NOT NULL,
	last   bigint NOT NULL,
	PRIMARY KEY (tenant, run, agent)
);
CREATE INDEX keybrake_runs_by_time ON keybrake_runs (tenant, first);

CREATE TABLE keybrake_labels (
	tenant text COLLATE "C" NOT NULL,
	label  text COLLATE "C" NOT NULL,
	run    text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, label, run)
);
CREATE INDEX keybrake_labels_by_run ON keybrake_labels (tenant, run);

CREATE TABLE keybrake_vendor_figures (
	day        text   COLLATE "C" NOT NULL,
	vendor     text   COLLATE "C" NOT NULL,
	credential text   COLLATE "C" NOT NULL,
	run        text   COLLATE "C" NOT NULL,
	meter      text   COLLATE "C" NOT NULL,
	currency   text   COLLATE "C" NOT NULL,
	amount     bigint NOT NULL,
	asked      bigint NOT NULL,
	PRIMARY KEY (day, vendor, credential, run, meter, currency)
);
