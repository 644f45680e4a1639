# What a developer runs. `make help` lists the targets; .ci/run is what every
# change must pass.

GO     ?= go
PYTHON ?= python3
TOOL   := $(GO) tool -modfile=tools/go.mod

# Packages with goroutines, tested under the race detector.
RACE := ./dataset/... ./worker/... ./paramserver/... ./internal/wire/... ./internal/membership/... \
	./internal/telemetry/... ./model/device/cpu/... ./cmd/...

# What `make bench` runs; results to keep go to bench/results.
BENCH ?= .
COUNT ?= 1
PKG   ?= ./internal/kernel/... ./model/device/cpu/... ./internal/wire/... ./paramserver/...

.DEFAULT_GOAL := help
.PHONY: help build check format test short race fuzz lint vuln generate golden bench ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the three programs, static, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

check: format lint short ## what every commit must pass: format, lint and the short tests

format: ## fail on files that gofmt or gofumpt would change
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs -r gofmt -l); \
	files="$$files$$($(TOOL) gofumpt -l .)"; \
	if [ -n "$$files" ]; then echo "not formatted (run: $(TOOL) gofumpt -w .):"; echo "$$files" | sort -u; exit 1; fi

lint: ## vet, layering, staticcheck, protocol
	$(GO) vet ./...
	$(GO) test ./internal/lint
	$(TOOL) staticcheck ./...
	$(TOOL) buf lint

test: ## all tests
	$(GO) test ./...

short: ## all tests but the long ones
	$(GO) test -short ./...

race: ## the concurrent packages under the race detector (needs a C compiler)
	$(GO) test -race -cover -short $(RACE)

fuzz: ## every fuzz target for FUZZTIME (default 30s)
	.ci/fuzz $(or $(FUZZTIME),30s)

vuln: ## known vulnerabilities in what we link (needs the network)
	$(TOOL) govulncheck ./...

generate: ## protocol code (buf) and assembly (tools/kernelgen)
	$(TOOL) buf generate
	$(GO) generate ./internal/kernel

ptx: ## the PTX of GPU kernels (needs clang-16)
	model/device/cuda/kernels/build.sh

golden: ## the golden data of package model (needs PyTorch)
	$(PYTHON) model/testdata/golden.py

bench: ## benchmarks: BENCH=regexp COUNT=10 PKG=./internal/kernel
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

ci: ## what CI runs
	.ci/run
