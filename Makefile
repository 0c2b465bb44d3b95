# Targets: test, check, fuzz, torture, mutants, long, cover, bench-audit, vault. All but torture, mutants, bench-audit and vault
# work on every module of the repository.
#
#	make test                  what the tests need is installed if missing, then all tests run with -race
#	make check                 vet, staticcheck, govulncheck, gofmt, go mod tidy, import borders, prints of secrets
#	make fuzz FUZZTIME=5m      every fuzz target for that long, 30s by default
#	make torture TIME=20m      the ledgers under fire for that long; SEED=n plays the same again
#	make mutants ONLY=regexp   removes each control of docs/controls.md, or those that match, and fails if no test notices
#	make long                  the long forms: many rounds, shuffled, on one and more processors
#	make cover                 how much of the code the tests of its module reach
#	make bench-audit           asks the questions of docs/audit.md of RECORDS records, in SQLite and PostgreSQL; takes 20 GB of disk
#	make vault                 builds HashiCorp Vault for the tests of credentials/hashivault, and prints where it is

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME    ?= 30s
TIME        ?= 20m
SEED        ?= 0
ONLY        ?=
RECORDS     ?= 10000000

MODULES := $(sort $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path '*/testdata/*' -not -path './.*/*')))

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# A module is tested with its own go.mod, not in the workspace of whoever runs this. The version control stamp is
# for released programs, and fails in a clone that belongs to another user.
export GOWORK  := off
export GOFLAGS ?= -buildvcs=false

comma := ,

# every runs a command in each module, goes on after a failure, and fails if one of them failed.
every = failed=; for module in $(MODULES); do echo "== $$module: $(strip $(1))"; (cd $$module && $(2)) || failed=1; done; [[ -z $$failed ]]

.PHONY: test check needs vet staticcheck govulncheck format tidy borders prints fuzz torture mutants long cover bench-audit vault

test: export CGO_ENABLED := 1
test: needs
	@$(call every, go vet and go test -race, go vet ./... && go test -race ./...)

check: vet staticcheck govulncheck format tidy borders prints

# A C compiler, for -race, redis-server, PostgreSQL and Prometheus. Nothing is started here: the tests that need one start their own
# on a free loopback port and stop it (internal/redistest, internal/pgtest).
needs:
	@.ci/needs

vet:
	@$(call every, go vet, go vet ./...)

staticcheck:
	@$(call every, staticcheck, go run $(STATICCHECK) ./...)

# The database of vulnerabilities is on another machine, and govulncheck itself knows whether it was reached.
govulncheck:
	@$(call every, govulncheck, \
		if ! out=$$(go run $(GOVULNCHECK) ./... 2>&1); then \
			echo "$$out"; \
			grep -q '^govulncheck: fetching vulnerabilities: ' <<<"$$out" || exit 1; \
			echo "NOT CHECKED for known vulnerabilities: the database cannot be reached from here"; \
		fi)

format:
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .); \
	[[ -z $$unformatted ]] || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }

tidy:
	@$(call every, go mod tidy -diff, go mod tidy -diff)

# The test looks at packages that it does not import, so a result that go test remembers may be old.
borders:
	go test -count=1 -run '^TestImports$$' .

# What fmt prints of a live brake is searched for secrets without the race detector, because fmt takes no locks.
prints:
	go test -count=1 -run '^TestNoExportedTypeShowsASecret$$' .

# Each target of every module for FUZZTIME, and at the end a line for each: how many inputs it was given, or
# that it failed. The input that failed is in testdata/fuzz beside the test, where git sees it: go test plays it from then on.
fuzz: needs
	@summary=; failed=; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	while IFS=: read -r file func; do \
		target=$${func#func }; target=$${target%%(*}; \
		echo "== $$file: $$target for $(FUZZTIME)"; \
		verdict=ok; \
		(cd "$$(dirname "$$file")" && go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s . </dev/null) 2>&1 | tee "$$log" || verdict=FAILED; \
		[[ $$verdict == ok ]] || failed=1; \
		inputs=$$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$$log" | tail -n 1); \
		summary+=$$(printf '%-7s %10s inputs  %s %s' "$$verdict" "$${inputs:-0}" "$$(dirname "$$file")" "$$target")$$'\n'; \
	done < <(grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' . | sort); \
	printf '\n%s' "$$summary"; \
	[[ -z $$failed && -n $$summary ]]

# The seed is printed first; SEED=0 draws one. The last line counts operations, faults and violations, and a
# violation fails the target. See internal/torture.
torture: export CGO_ENABLED := 1
torture: needs
	@cd internal/torture && go run -race . -time $(TIME) -seed $(SEED)

# A quarter of an hour for all of them, on two idle processors. The working tree is not touched. See internal/mutants.
mutants: needs
	@cd internal/mutants && go run . -only '$(ONLY)'

# Tests that have a longer form look for KEYBRAKE_LONG.
long: export KEYBRAKE_LONG := 1
long: export CGO_ENABLED := 1
long: needs
	@$(call every, the long forms, go test -race -shuffle on -cpu 1$(comma)4 -count 5 -timeout 60m ./...)
	@$(MAKE) fuzz FUZZTIME=5m

cover: needs
	@$(call every, cover, go test -coverpkg ./... -coverprofile cover.out ./... && go tool cover -func cover.out | tail -n 1)

# Half an hour for ten million, on two processors. One database after the other; each is removed at the end.
bench-audit: needs
	@cd audit/sqlaudit && go test -run '^$$' -bench '^BenchmarkQuestions$$' -benchtime 1x -timeout 6h -audit.records $(RECORDS) .

# Once; it takes some minutes. The tests take its path as KEYBRAKE_VAULT, or any vault on PATH.
vault:
	@.ci/vault
