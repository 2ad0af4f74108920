# "make" without a target lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export CGO_ENABLED := 0

GO      ?= go
ARCH    := $(shell $(GO) env GOARCH)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE   ?= localhost/kdiag:dev
LDFLAGS := -s -w -X main.buildVersion=$(VERSION) -X main.buildImage=$(IMAGE)
# urfave/cli would add a Markdown parser, to write man pages that no command needs.
TAGS    := -tags urfave_cli_no_docs
BUILD   := $(GO) build $(TAGS) -trimpath -ldflags '$(LDFLAGS)'
MAX_BYTES := 33554432

# The packages that a fresh Debian machine with Go lacks.
PACKAGES := bzip2 containerd containernetworking-plugins dpkg-dev file gcc gcc-aarch64-linux-gnu \
	iproute2 iptables jq libc6-dev-arm64-cross make musl-tools nftables patch procps qemu-user-static \
	libseccomp-dev pkg-config runc tmux util-linux xz-utils buildah conntrack tcpdump tshark zsh fish bash-completion groff-base man-db
TOXIPROXY := github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0

# The container runtime of the cluster: debian or containerd2.
RUNTIME  ?= debian
CLUSTER  := .cluster/bin/cluster
KUBECTL  := $(CURDIR)/.cluster/bin/kubectl
# With a cluster of the user's own, nothing is started.
OWN      := $(and $(KUBECONFIG),$(KDIAG_TEST_IMAGE))
CLUSTER_ENV := $(if $(OWN),,KUBECONFIG=$(CURDIR)/.cluster/kubeconfig KDIAG_TEST_IMAGE=$(IMAGE) PATH=$(CURDIR)/.cluster/bin:$$PATH)

##@ Use

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-23s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: deps build cluster-images ## Show kdiag step by step on a sample that has no shell
	@$(CLUSTER_ENV) testdata/demo.sh

test: deps build build-all lint unit cluster-test integration integration-containerd2 ## Run everything that CI runs

##@ Build

build: scratch-shell ## Build bin/kdiag and the links that kubectl finds it by
	@$(BUILD) -o bin/kdiag .
	@ln -sf kdiag bin/kubectl-kdiag
	@ln -sf kdiag bin/kubectl_complete-kdiag
	@size=$$(stat -c %s bin/kdiag); [ $$size -le $(MAX_BYTES) ] || { echo "bin/kdiag: $$size bytes, want at most $(MAX_BYTES)"; exit 1; }

build-all: scratch-shell ## Build bin/kdiag-OS-ARCH for every platform
	@sh scratch-shell/build.sh arm64
	@for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do \
		out=bin/kdiag-$${platform%/*}-$${platform#*/}; [ $${platform%/*} != windows ] || out=$$out.exe; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(BUILD) -o $$out .; \
	done
	@[ $(ARCH) = arm64 ] || qemu-aarch64-static bin/kdiag-linux-arm64 version

scratch-shell: ## Build the shell that is embedded in the binary
	@sh scratch-shell/build.sh $(ARCH)

image: build ## Save the container image to bin/kdiag-image.tar
	@bin/kdiag image save bin/kdiag-image.tar --image $(IMAGE)

##@ Test

unit: ## Run the tests that need no cluster
	@KDIAG_TEST_ALL=1 $(GO) test -count=1 $$($(GO) list ./... | grep -v '^kdiag/integration')
	@cd integration/cluster && $(GO) vet -trimpath ./... && $(GO) test -trimpath -count=1 .
	@$(MAKE) bench-short

bench-short: ## Run the benchmarks of the link for a moment, so that they don't rot
	@$(GO) test -run NONE -bench . -benchtime 10x -benchmem ./mux/...

cluster-test: ## Test the test cluster itself; it is down afterwards
ifeq ($(OWN),)
	@cd integration/cluster && $(GO) build -o ../../$(CLUSTER) .
	@$(CLUSTER) down
	@$(CLUSTER) build --runtime containerd2
	@cd integration/cluster && KDIAG_CLUSTER_TEST=1 $(GO) test -trimpath -count=1 -timeout 20m -run '^Test(UpTwiceAndDown|TwoUpsAtOnce|UpIsKilled|UpOnStaleState|StopAndStart|OneClusterOnAMachine|RuntimeChanges)$$' .
endif

# Only the other runtime supports user namespaces.
integration: ## Run the tests that need a cluster
	@$(MAKE) cluster-images RUNTIME=debian
	@$(CLUSTER_ENV) KDIAG_TEST_ALL=1 $(GO) test -count=1 -parallel 7 -timeout 45m -skip '^TestUserNamespace' ./integration

# What only the laptop and the API server decide is left to the first runtime.
integration-containerd2: ## Run the cluster tests that depend on the runtime, on containerd 2
ifeq ($(OWN),)
	@$(MAKE) cluster-images RUNTIME=containerd2
	@$(CLUSTER_ENV) KDIAG_TEST_ALL=1 $(GO) test -count=1 -parallel 7 -timeout 20m -run '^Test(Shell|Ps|Redir|UserNamespace|Rights|AsTarget|ExecInto)' \
		-skip '^TestRedir(All|Ends|Follows|Full|Home|Named|Own|Program|Reader|Sandbox|Says|Service|Waits)' ./integration
else
	@echo "skipped: a cluster of your own has only one runtime"
endif

lint: ## Check formatting, go vet on every platform, golangci-lint
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "run gofmt on: $$out"; exit 1; }
	@for os in linux darwin windows; do GOOS=$$os $(GO) vet ./...; done
	@$(GO) mod tidy -diff
	@$(GO) run $(GOLANGCI) run

bench: cluster-images ## Measure speed beside kubectl and a port-forward (KDIAG_BENCH=REGEXP for some rows)
	@GOBIN=$(CURDIR)/.cluster/bin $(GO) install $(TOXIPROXY)
	@$(CLUSTER_ENV) $(GO) test -tags bench -count=1 -v -timeout 30m -run '$(if $(KDIAG_BENCH),^TestSpeedLink$$,^TestSpeed)' ./integration

soak: cluster-images ## Cut the connection again and again beside 1 GiB and 200,000 connections
	@KDIAG_SOAK=200000 $(GO) test -count=1 -v -timeout 20m -run TestSoak ./mux
	@$(CLUSTER_ENV) KDIAG_TEST_ALL=1 $(GO) test -tags soak -count=1 -v -timeout 30m -run TestSoak ./integration

docs: ## Generate docs/reference.md and docs/kdiag.1 from the commands' help
	@$(GO) test -count=1 -run TestReferenceIsCurrent . -update-docs

##@ The cluster

cluster: ## Start the test cluster (RUNTIME=debian or containerd2) unless it is running
	@$(MAKE) $(if $(OWN),own-cluster,.cluster-up)

.cluster-up:
	@cd integration/cluster && $(GO) build -o ../../$(CLUSTER) .
	@$(CLUSTER) up --runtime '$(RUNTIME)'

own-cluster:
	@echo "using the cluster of KUBECONFIG=$(KUBECONFIG)"

cluster-down: ## Stop the test cluster and remove everything it created
	@cd integration/cluster && $(GO) build -o ../../$(CLUSTER) .
	@$(CLUSTER) down

cluster-images: build cluster
ifeq ($(OWN),)
	@$(MAKE) image
	@$(GO) run ./integration/sampleimage bin/sample-images.tar
	@$(CLUSTER) load bin/kdiag-image.tar bin/sample-images.tar
endif

##@ Other

deps: ## Install missing Debian packages
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	[ -z "$$missing" ] || { echo "installing:" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; }

clean: ## Stop the cluster and remove everything that was built
	@[ ! -e .cluster ] || $(MAKE) cluster-down
	@rm -rf bin .cluster scratch-shell/bin/busybox-linux-amd64 scratch-shell/bin/busybox-linux-arm64 scratch-shell/bin/.stamp-*

.PHONY: help demo test build build-all scratch-shell image unit bench-short cluster-test integration integration-containerd2 lint bench soak docs cluster .cluster-up own-cluster \
	cluster-down cluster-images deps clean
