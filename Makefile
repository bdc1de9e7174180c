# Tenement. `make help` lists what there is to do.

GO       ?= go
TAGS     ?=
LDFLAGS  := -s -w -X main.buildVersion=$(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The race detector needs cgo; what is shipped does not.
RACE     := CGO_ENABLED=1 $(GO) test -race
BENCH    ?= 30
STORM    ?= 200
ISOLATION ?=
FUZZTIME ?= 10s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build bin/ten and bin/ten-init
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ten ./cmd/ten
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ten-init ./cmd/ten-init

.PHONY: man
man: build ## write the manual pages and completions into bin/man and bin/completions
	bin/ten man bin/man
	mkdir -p bin/completions
	for s in bash zsh fish; do bin/ten completion $$s > bin/completions/ten.$$s; done

.PHONY: package
package: ## build the .deb and .rpm packages for amd64 and arm64 into dist/
	$(GO) run ./packaging/build -out dist

.PHONY: docs
docs: ## write docs/configuration.md from the configuration's schema
	$(GO) test -run '^TestReference$$' ./internal/config -write

.PHONY: programs
programs: build # what the tests run
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/testapp ./test/testapp
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/web ./examples/go-http
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ github.com/letsencrypt/pebble/v2/cmd/pebble github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/hostile ./test/hostile/tenant

.PHONY: demo
demo: build ## show the main job for real: two tenants, sleep and wake
	@$(GO) build -o bin/demo ./test/demo
	@bin/demo

.PHONY: test
test: tools programs ## run all tests, those on a real systemd machine included (needs root)
	TENEMENT_BUILT=1 $(RACE) -timeout 20m ./...

.PHONY: check
check: tools build lint ## the fast part: vet, lint and the tests that need no machine
	$(GO) vet ./...
	$(RACE) $(shell $(GO) list ./... | grep -Ev '/test/|systemdtest|/journal$$|/examples|/internal/keeper$$')

.PHONY: lint
lint: ## gofmt and golangci-lint, which also keeps the layers
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0 run

.PHONY: integration
integration: tools programs ## only the tests on the real systemd machine
	TENEMENT_BUILT=1 $(RACE) -timeout 20m ./test/... ./dbusctl/... ./journal/... ./examples/... ./internal/keeper/...

.PHONY: vm
vm: tools programs ## only the tests that need the virtual machine: limits, swap
	TENEMENT_BUILT=1 $(GO) test -timeout 10m ./test/limits/...

.PHONY: chaos
chaos: tools programs ## everything goes wrong at once, for five minutes; TENEMENT_SEED=N repeats a run
	TENEMENT_BUILT=1 TENEMENT_CHAOS=$${TENEMENT_CHAOS:-5m} $(RACE) -timeout 20m -count=1 -v ./test/chaos

.PHONY: bench
bench: build ## requests through Tenement beside nginx, HAProxy, Caddy and others; writes docs/PERFORMANCE.md
	@$(GO) build -o bin/benchproxy ./test/bench/proxy
	@bin/benchproxy -out docs/PERFORMANCE.md

.PHONY: bench-wake
bench-wake: programs ## time wakes by phase, beside a bare start; writes its section of docs/PERFORMANCE.md
	$(GO) run ./test/bench/wake -n $(BENCH) | $(GO) run ./test/bench/report docs/PERFORMANCE.md

.PHONY: bench-storm
bench-storm: programs ## wake 200 sleeping tenants at once (STORM=n ISOLATION=level); writes its section of docs/PERFORMANCE.md
	$(GO) run ./test/bench/wake -storm $(STORM) -isolation "$(ISOLATION)" | $(GO) run ./test/bench/report docs/PERFORMANCE.md

.PHONY: bench-steps
bench-steps: programs ## what each part of the sandbox costs a start
	$(GO) run ./test/bench/wake -steps $(BENCH)

.PHONY: bench-logs
bench-logs: ## search a journal of 1,000 tenants and about 1 GB
	@$(GO) build -o bin/benchlogs ./test/bench/logs
	@bin/benchlogs

.PHONY: bench-scale
bench-scale: programs ## many tenants: memory, latency, what each costs; writes its section of docs/PERFORMANCE.md
	TENEMENT_BUILT=1 $(GO) test -v -count=1 -timeout 10m ./test/bench/scale -args -registered 100000 -awake 500 -more 1000 -each 100 -rounds 9 -window 1s | \
		$(GO) run ./test/bench/report docs/PERFORMANCE.md

.PHONY: simulate
simulate: programs ## a day of 1,000 tenants' visitors in minutes; writes its section of docs/PERFORMANCE.md, and a picture
	TENEMENT_BUILT=1 $(GO) test -v -count=1 -timeout 10m ./test/bench/simulate -args -tenants 1000 -visits 800 -day 240s | \
		$(GO) run ./test/bench/report docs/PERFORMANCE.md

.PHONY: fuzz
fuzz: ## run each fuzz target for a while (FUZZTIME=10s)
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

.PHONY: shell
shell: build ## a root shell in a throwaway systemd machine
	$(GO) run ./test/machine/shell

.PHONY: tools
tools: # what the tests need on this machine; the test machine gets its own by itself
	@command -v npm >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; }
	@command -v gcc >/dev/null && command -v groff >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev groff-base; }

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
