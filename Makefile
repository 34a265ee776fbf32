# Two commands do all a newcomer needs: `make demo` and `make test`.
# Both need nothing but Go; `make tools-test` needs what .ci/run installs.

GO    ?= go
BIN   := bin
FUZZ  ?= 10s
BENCH ?= .

.PHONY: all build test race sim mutants sim-traces sim-coverage interleave torture bench bench-ziplist demo profile lint fuzz tools-test upgrade-test clean

all: build

build:
	$(GO) build -o $(BIN)/ ./cmd/...

# How many packages are tested at once: many tests wait for elections and disks.
AT_ONCE ?= 3

# The simulation runs last: its fixed seeds, then a minute of fresh ones.
test: build
	$(GO) vet ./...
	$(GO) test -p $(AT_ONCE) $$($(GO) list ./... | grep -v /engine/internal/sim)
	$(GO) test -count=1 -tags poison ./engine/internal/sim

# Of the tests that start processes, some with much in them: all would take as long as the rest.
RACED = TestAFailoverIsToldOnce|TestSecretIsChangedUnderLoad|TestPasswordIsChangedUnderLoad|TestUsersOfACluster|TestClusterOverTLS|TestRaftdFindsItsCluster
race:
	$(GO) test -race -short -p $(AT_ONCE) $$($(GO) list ./... | grep -v /internal/house | grep -v '/cmd/raftd$$')
	$(GO) test -race -short -run '$(RACED)' ./cmd/raftd

# Fresh seeds for a minute; SEED=n replays one with its transcript; SEEDS=a..b
# runs a range. docs/testing.md explains what is printed.
FOR ?= 1m
sim: $(BIN)/sim.test
ifdef SEED
	$(BIN)/sim.test -test.run '^TestSeed$$' -sim.seed $(SEED)
else ifdef SEEDS
	$(BIN)/sim.test -test.run '^TestSeeds$$' -test.timeout 24h -sim.seeds $(SEEDS) -sim.report
else
	$(BIN)/sim.test -test.run '^TestFreshSeeds$$' -test.timeout 24h -sim.for $(FOR) -sim.report
endif

.PHONY: $(BIN)/sim.test
$(BIN)/sim.test:
	$(GO) test -c -tags poison -o $@ ./engine/internal/sim

# Puts back every bug of the catalogue, one at a time, and hunts it.
# MUTANT=name takes those whose name matches.
mutants: $(BIN)/sim.test
	cd engine/internal/sim && ../../../$(BIN)/sim.test -test.run '^TestMutants$$' -test.timeout 24h -mutants -mutant '$(MUTANT)'

# The same seeds must leave the same traces, whatever the processors, the
# collector and the race detector.
TRACES = $(BIN)/$(1).test -test.run '^TestTraces$$' -sim.traces 12 | grep '^seed'
sim-traces: $(BIN)/sim.test
	$(GO) test -c -race -tags poison -o $(BIN)/sim-race.test ./engine/internal/sim
	$(call TRACES,sim) > $(BIN)/traces
	test $$(sort -u -k4 $(BIN)/traces | wc -l) = 12
	GOMAXPROCS=1 GOGC=10 $(call TRACES,sim) | diff $(BIN)/traces -
	GOMAXPROCS=1 GOGC=off GOMEMLIMIT=1GiB $(call TRACES,sim) | diff $(BIN)/traces -
	GOMAXPROCS=2 GOGC=10 $(call TRACES,sim) | diff $(BIN)/traces -
	GOMAXPROCS=2 GOGC=off GOMEMLIMIT=1GiB $(call TRACES,sim) | diff $(BIN)/traces -
	GOMAXPROCS=1 $(call TRACES,sim-race) | diff $(BIN)/traces -
	GOMAXPROCS=2 $(call TRACES,sim-race) | diff $(BIN)/traces -

# What simulation alone runs through, by file and package: whole clusters, the
# seeded clusters of cores, which also change their members, the seeded worlds of members
# that give each other snapshots, and the seeded foundings.
sim-coverage:
	$(GO) test -c -cover -tags poison -o $(BIN)/sim-cover.test ./engine/internal/sim \
	  -coverpkg=./engine/internal/raft/...,./engine/internal/replica,./engine/internal/pipeline,./engine/internal/peer,./engine/internal/member,./journal
	$(BIN)/sim-cover.test -test.run '^TestSeeds$$|^TestTranscript$$' -sim.seeds 1..1000 -test.coverprofile=$(BIN)/sim.cover
	$(GO) test -count=1 -run '^TestRandomCluster$$' -coverpkg=./engine/internal/raft/... -coverprofile=$(BIN)/core.cover ./engine/internal/raft
	$(GO) test -count=1 -run '^TestExchange' -coverprofile=$(BIN)/worlds.cover ./engine/internal/member \
	  -coverpkg=./engine/internal/replica,./engine/internal/pipeline,./engine/internal/peer,./engine/internal/member
	$(GO) test -count=1 -run '^TestFounding' -coverprofile=$(BIN)/founding.cover ./engine/internal/founding
	$(GO) run ./internal/covered $(BIN)/sim.cover $(BIN)/core.cover $(BIN)/worlds.cover $(BIN)/founding.cover

# Every order of loads, stores and wake-ups: on tiny rings, and of a lane's owner,
# replica and apply.
interleave:
	GOGC=400 $(GO) test -count=1 -tags interleave ./ring ./internal/interleave
	GOGC=400 $(GO) test -count=1 -tags interleave -run TestEveryOrder ./engine/internal/replica

# Every bit, every truncation, every torn subset, ten thousand turns of the ring
# of segments with power gone in every write, processes on disks that fail (as
# root, with strace), the recovery of 1 GiB. docs/journal.md has the table.
torture: SHELL := bash
torture: .SHELLFLAGS := -o pipefail -c
torture:
	RINGRAFT_TORTURE=1 RINGRAFT_RECOVERY=$${RINGRAFT_RECOVERY-1024} \
	  $(GO) test -count=1 -timeout 2h -v -p 1 -run JRN ./journal ./cmd/raftd | grep -v '^=== '

# Allocation counts and nanoseconds of every hot component.
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./ring/ ./ziplist/ ./journal/... ./netio/... ./engine/...

# What the tables of docs/ziplist.md hold, all of it in turn with what it is
# compared with (three minutes).
ROUNDS ?= 40x
bench-ziplist:
	$(GO) test -count=1 -timeout 1h -run '^TestMemory$$' -bench 'Append|Read|Pack' -benchtime $(ROUNDS) -v ./ziplist | grep -E 'memory_test|/entry|^cpu|^ok|FAIL'

# Three raftd processes under load; the leader is killed half way.
demo: build
	$(BIN)/raftbench demo

# Load in process with a CPU profile; opens the ten hottest functions.
profile: build
	$(BIN)/raftbench run --outstanding 16384 -d 128 --duration 10s --cpuprofile $(BIN)/cpu.prof
	$(GO) tool pprof -top -nodecount 25 $(BIN)/raftbench $(BIN)/cpu.prof

# gofmt, vet, staticcheck and dead code; the tools come from the module proxy.
lint:
	GO=$(GO) .ci/lint/run

# Every fuzz target for FUZZ each.
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) -fuzzminimizetime 20x $$p; done; done

# Stock Redis, its tools and strace against real processes.
tools-test: build
	.ci/tools-test

# A cluster of an earlier release, upgraded under load; needs the history of git.
upgrade-test:
	GO="$(GO)" .ci/upgrade-test

clean:
	rm -rf $(BIN)
