# Two commands do all a newcomer needs: `make demo` and `make test`.
# Both need nothing but Go; `make tools-test` needs Debian's redis-tools and strace.

GO    ?= go
BIN   := bin
FUZZ  ?= 10s
BENCH ?= .

.PHONY: all build test race bench demo profile lint fuzz tools-test clean

all: build

build:
	$(GO) build -o $(BIN)/ ./cmd/...

test: build
	$(GO) vet ./...
	$(GO) test ./...

race:
	$(GO) test -race -short ./...

# Allocation counts and nanoseconds of every hot component.
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./ring/ ./ziplist/ ./journal/... ./netio/... ./engine/...

# Three raftd processes under load; the leader is killed half way.
demo: build
	$(BIN)/raftbench demo

# Load in process with a CPU profile; opens the ten hottest functions.
profile: build
	$(BIN)/raftbench run --outstanding 16384 -d 128 --duration 10s --cpuprofile $(BIN)/cpu.prof
	$(GO) tool pprof -top -nodecount 25 $(BIN)/raftbench $(BIN)/cpu.prof

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt these files'; exit 1; }
	$(GO) vet ./...

# Every fuzz target for FUZZ each.
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$p; done; done

# Stock Redis tools and strace against real processes.
tools-test: build
	.ci/tools-test

clean:
	rm -rf $(BIN)
