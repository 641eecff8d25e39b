# Podway. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN   := bin
TOOLS := .cache/bin
# Versions of the tools that `make lint` installs into .cache/bin.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT       := mvdan.cc/gofumpt@v0.12.0
# Helm, which `make deploy-test` builds, too: minutes, once.
HELM          := helm.sh/helm/v3/cmd/helm@v3.22.0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

# What `make run` starts can be changed with these; `make help` prints them.
export PODWAY_API_PORT   ?= 8000
export PODWAY_EDGE_PORT  ?= 8443
export PODWAY_REDIS_PORT ?= 8679
export PODWAY_STATE_DIR  ?= .run

.PHONY: help
help: ## Print this list.
	@echo "Targets:"
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo
	@echo "Environment variables of 'make run' and their present values:"
	@echo "  PODWAY_API_PORT=$(PODWAY_API_PORT)      port of the API, http://localhost:PORT"
	@echo "  PODWAY_EDGE_PORT=$(PODWAY_EDGE_PORT)     port of the edge, TLS, every protocol"
	@echo "  PODWAY_REDIS_PORT=$(PODWAY_REDIS_PORT)    port of the built-in Redis, on loopback"
	@echo "  PODWAY_STATE_DIR=$(PODWAY_STATE_DIR)     where everything is kept"

.PHONY: build
build: ## Build the control plane, the edge and podctl into bin/.
	@mkdir -p $(BIN)
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/podway ./controlplane
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/podway-edge ./edge
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/podctl ./podctl

# Pods run in the cluster of KUBECONFIG only if it is given on the command line: the
# one of an admin's shell may be a cluster that people rely on.
KUBE_FLAG := $(if $(findstring command,$(origin KUBECONFIG)),--kubeconfig $(KUBECONFIG))

.PHONY: run
run: build ## Start the whole system on this machine; KUBECONFIG=file runs pods in that cluster.
	@exec $(BIN)/podway dev --edge $(BIN)/podway-edge $(KUBE_FLAG)

.PHONY: run-clean
run-clean: ## Delete what `make run` keeps: pods, their data, keys, certificates.
	@if [ -x $(BIN)/podway ]; then $(BIN)/podway dev --clean $(KUBE_FLAG); else rm -rf "$(PODWAY_STATE_DIR)"; fi

.PHONY: test
test: test-tools ## Install what tests need and run all of them. The README's second command.
	tests/run.sh

.PHONY: test-tools
test-tools: ## Install the servers and clients of the tests (Debian packages; root or sudo).
	@tests/install.sh

.PHONY: unit
unit: ## Run the tests that need nothing but Go; the others are skipped.
	go test ./...

.PHONY: test-race
test-race: ## Run every Go test under the race detector.
	CGO_ENABLED=1 go test -race ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 10s).
	tests/fuzz.sh

.PHONY: soak
soak: ## Hold SOAK (default 10000) idle connections for a minute of 1,000 route writes per second; needs 20,000 open files.
	PODWAY_SOAK=$(or $(SOAK),10000) go test -count=1 -v -timeout 20m -run TestE10Soak ./tests/edge

.PHONY: fuzz-api
fuzz-api: ## Make 20 000 requests of all kinds from our specification, and check every answer; takes minutes.
	PODWAY_FUZZ_EXAMPLES=250 go test -count=1 -v -timeout 30m -run TestEveryAnswerIsInTheSpecification ./tests/conformance

.PHONY: kube
kube: ## Build the programs of Kubernetes that tests and the cluster need, once; takes minutes.
	@deploy/cluster/cluster.sh kube

.PHONY: cluster
cluster: ## Start a real single-node Kubernetes on this machine (Debian, Ubuntu; root or sudo).
	@deploy/cluster/cluster.sh up

.PHONY: cluster-down
cluster-down: ## End that cluster and restore the machine.
	@deploy/cluster/cluster.sh down

.PHONY: cluster-status
cluster-status: ## Say whether that cluster is up.
	@deploy/cluster/cluster.sh status

.PHONY: cluster-test
cluster-test: ## Start that cluster, use it, end it, and check that the machine is as before.
	go test -tags e2e -count=1 -v -run TestClusterUpAndDown ./deploy/cluster

.PHONY: e2e
e2e: test-tools ## Tell the user stories on a real Kubernetes of this machine; ends what it started.
	tests/e2e/run.sh

.PHONY: bench-control
bench-control: ## Measure the control plane with 2,000 pods, and the API with 10,000, into docs/benchmarks-control.md; BENCH="-pods 500" changes it.
	@mkdir -p $(BIN)
	@go build -o $(BIN)/bench-control ./tests/bench/control
	@$(BIN)/bench-control -report docs/benchmarks-control.md $(BENCH)
	@$(BIN)/bench-control -report docs/benchmarks-control.md -api 10000

.PHONY: docs
docs: ## Make a site of docs/ in .cache/site, to read in a browser without a server.
	@docs/site/build.sh

.PHONY: docs-test
docs-test: test-tools ## Check the documents: links, the map, what blocks do, the site in Chromium; takes a minute or two.
	PODWAY_TEST_PARTS=required go test -count=1 -v -timeout 15m ./tests/docs

.PHONY: reference
reference: build ## Write docs/reference from the programs and their source.
	go run ./docs/generate -podway $(BIN)/podway -podctl $(BIN)/podctl

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/gofumpt ## Check format, vet and the linters.
	@test -z "$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go') | tee /dev/stderr)" || { echo "run: make fmt"; exit 1; }
	go vet ./...
	$(TOOLS)/golangci-lint run ./...

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the code.
	$(TOOLS)/golangci-lint fmt ./...

$(TOOLS)/golangci-lint:
	GOBIN=$(CURDIR)/$(TOOLS) go install $(GOLANGCI_LINT)

$(TOOLS)/gofumpt:
	GOBIN=$(CURDIR)/$(TOOLS) go install $(GOFUMPT)

.PHONY: clean
clean: ## Delete what was built.
	rm -rf $(BIN)

.PHONY: bench
bench: ## Measure the edge beside HAProxy, nginx and stock Caddy, into docs/benchmarks.md; BENCH="-quick" is short.
	@tests/bench/edge/install.sh
	@mkdir -p $(BIN)
	@go build -o $(BIN)/bench-edge ./tests/bench/edge
	@exec $(BIN)/bench-edge -report docs/benchmarks.md $(BENCH)

.PHONY: clients
clients: test-tools ## Run every client of docs/clients.md through an edge, and the documented Neo4j snippet; fetches Neo4j and others once.
	@tests/install.sh clients
	PODWAY_TEST_PARTS=required go test -tags clients -count=1 -v -timeout 20m ./tests/clients
	PODWAY_TEST_PARTS=required go test -tags clients -count=1 -v -timeout 10m -run Neo4jSnippet ./tests/sdk

.PHONY: certs-test
certs-test: test-tools $(TOOLS)/pebble ## Get, renew and lose certificates with real edges, an ACME server and DNS; takes minutes.
	PODWAY_TEST_PARTS=required go test -tags certs -count=1 -v -timeout 30m ./tests/certs

$(TOOLS)/pebble:
	GOBIN=$(CURDIR)/$(TOOLS) go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1

.PHONY: images
images: ## Build OCI archives of the control plane and the edge into dist/, with what they consist of.
	go run ./deploy/images -out dist -version $(VERSION) -revision "$$(git rev-parse HEAD 2>/dev/null)"

.PHONY: image-scan
image-scan: ## Build the images twice, compare them, and look for secrets in them.
	go test -count=1 -v ./deploy/images

.PHONY: chart
chart: ## Render deploy/kustomize from the Helm chart.
	deploy/chart/render.sh >deploy/kustomize/podway.yaml

.PHONY: chart-check
chart-check: ## Check the Helm chart, its schema, and that deploy/kustomize is rendered from it.
	go test -count=1 -v ./deploy/chart

.PHONY: deploy-test
deploy-test: $(TOOLS)/helm ## Install the whole system with chart and images on the cluster of this machine, and use it (root).
	tests/deploy/run.sh

.PHONY: upgrade-test
upgrade-test: test-tools kube ## Replace every part by its next version while clients come and stay, and print the figures.
	PODWAY_TEST_PARTS=required PODWAY_TEST_KUBE=required go test -count=1 -v -run TestRollingUpgrade ./tests/upgrade

$(TOOLS)/helm:
	GOBIN=$(CURDIR)/$(TOOLS) go install $(HELM)
