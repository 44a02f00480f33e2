# Everything that a newcomer, a developer and CI run. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BRAMBLE_DATA ?= ./data
CONFIG       ?= config/local.yaml
VERSION      ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
TOOL         := go tool -modfile=tools/go.mod

# One setting of cgo and of -trimpath for builds, tests and linters: another one would compile the Collector a second
# time. Only race tests need cgo.
export CGO_ENABLED = 0
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath
GOBUILD := go build -ldflags "-s -w -X main.version=$(VERSION)"

# Packages that do not link the whole Collector, and so can be tested under the race detector in reasonable time.
RACE_PACKAGES = $(shell go list ./internal/... ./components/... ./exporters/... ./processors/... 2>/dev/null)
FUZZTIME ?= 5s

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

.PHONY: build
build: ## build bin/bramble
	$(GOBUILD) -o bin/bramble ./cmd/bramble

.PHONY: build-slim
build-slim: ## build bin/bramble-slim, without the detection of clouds, for small nodes
	@mkdir -p build
	$(TOOL) builder --config builder-config.slim.yaml --skip-get-modules --skip-compilation
	@rm -rf build/slim-main && mkdir -p build/slim-main
	cp $(filter-out %_test.go,$(wildcard cmd/bramble/*.go)) build/slim-main/
	cp build/slim/components.go build/slim-main/
	$(GOBUILD) -o bin/bramble-slim ./build/slim-main

.PHONY: build-arm64
build-arm64: ## build/bramble-arm64, for linux/arm64
	@mkdir -p build
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o build/bramble-arm64 ./cmd/bramble

.PHONY: test-arm64
test-arm64: ## some end-to-end tests with build/bramble-arm64 under qemu's user mode emulation (Debian: qemu-user-static)
	BRAMBLE_BIN=$(CURDIR)/tools/run-arm64.sh go test -count=1 -timeout 20m -run 'Tutorial|TestJaeger$$|TestEveryField|TestZipkin|TestSearch' ./test/e2e

IMAGE           ?= bramble:dev
IMAGE_ARCHES    ?= $(shell go env GOARCH)
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt

.PHONY: image
image: ## an image with buildah or docker: IMAGE=bramble:dev; IMAGE_ARCHES="amd64 arm64" makes a manifest list
	@mkdir -p build/image
	for arch in $(IMAGE_ARCHES); do GOOS=linux GOARCH=$$arch $(GOBUILD) -o build/image/bramble-$$arch ./cmd/bramble; done
	cp $(CA_CERTIFICATES) build/image/ca-certificates.crt
	tools/image.sh build/image $(IMAGE) $(IMAGE_ARCHES)

.PHONY: build-plain
build-plain: ## build/plain/bramble: what ocb alone makes of the manifest, as somebody with a distribution of their own would
	@mkdir -p build/plain
	@# The first entry of ours is telemetry's; one path for the module is enough.
	awk '/^  module:/ {print "  module: example.com/plain"; next} /^  output_path:/ {print "  output_path: build/plain"; next} \
		{print} /gomod: github.com\/bramble-tracing\/bramble / && !done {print "  path: ."; done = 1}' builder-config.yaml >build/plain.yaml
	$(TOOL) builder --config build/plain.yaml

.PHONY: run
run: build ## build, start with config/local.yaml and print where to look
	@echo
	@echo "  Bramble is starting. Send spans to:"
	@echo "    http://localhost:4318/v1/traces      OTLP over HTTP  (OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318)"
	@echo "    localhost:4317                       OTLP over gRPC"
	@echo "  Look at:"
	@echo "    http://localhost:3200                Tempo API and Grafana data source, e.g. /api/traces/<trace id>"
	@echo "    http://localhost:16686/api/services  Jaeger's API, legacy and v3 (gRPC on 16685)"
	@echo "    http://localhost:8889/metrics        RED metrics and service graph of the spans"
	@echo "    http://localhost:55679/debug/tracez  zPages"
	@echo "    http://localhost:8888/metrics        Bramble's own metrics"
	@echo "  Data is kept in $(BRAMBLE_DATA). Stop with Ctrl-C."
	@echo
	BRAMBLE_DATA="$(BRAMBLE_DATA)" exec ./bin/bramble --config $(CONFIG)

.PHONY: test
test: build build/telemetrygen ## all tests: unit, race, leaks, architecture, short fuzz, end to end
	CGO_ENABLED=1 go test -race -shuffle=on -timeout 20m $(RACE_PACKAGES)
	go test -shuffle=on -timeout 20m ./cmd/... ./bench/... ./test/...
	cd test/kube && go test -mod=mod -shuffle=on ./chart # Its module follows ours: with other versions in go.mod it is brought up to date.
	tools/fuzz.sh $(FUZZTIME)

# Programs that the end-to-end tests and benchmarks run beside the product.
build/telemetrygen: tools/telemetrygen/go.mod
	@mkdir -p build
	cd tools/telemetrygen && go build -ldflags "-s -w" -o ../../build/telemetrygen github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen

build/etcd: tools/etcd/go.mod
	@mkdir -p build
	cd tools/etcd && go build -ldflags "-s -w" -o ../../build/etcd go.etcd.io/etcd/server/v3

# A control plane of Kubernetes: etcd, kube-apiserver and kube-controller-manager in one file, some ten minutes of CPU to build.
KUBERNETES = $(shell sed -n 's/.*k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' test/kube/controlplane/go.mod)
KUBE_VERSION = k8s.io/component-base/version

.PHONY: build-kube
build-kube: ## build/controlplane, the control plane of Kubernetes that test-kube runs against
	@mkdir -p build
	cd test/kube/controlplane && go build -ldflags "-s -w -X $(KUBE_VERSION).gitVersion=$(KUBERNETES) \
		-X $(KUBE_VERSION).gitMajor=$(word 1,$(subst ., ,$(KUBERNETES:v%=%))) -X $(KUBE_VERSION).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES)))" \
		-o ../../../build/controlplane .

.PHONY: test-kube
test-kube: build build-kube ## manifests, rights and metadata against a real API server
	cd test/kube && BRAMBLE_FULL=1 go test -mod=mod -count=1 -timeout 30m ./...

.PHONY: test-deps
test-deps: build/telemetrygen build/etcd ## install what the tests use beside Go: npm packages; tests skip what is missing
	cd test/e2e/node && npm ci --no-audit --no-fund --loglevel=error
	cd test/interop && npm install --no-save --no-audit --no-fund --loglevel=error # not ci: the lock cannot name bindings of platforms that a mirror lacks

BENCH_SPANS ?= 2000000
BENCH_RUNS  ?= 5

.PHONY: bench
bench: build ## ingest and query benchmarks of the whole process, pii and trace_metrics beside contrib's; results belong into bench/results.md
	@mkdir -p build
	go build -o build/ingest ./bench/ingest
	go build -o build/query ./bench/query
	@echo "--- ingest: floor otlp -> nop, store only, sync: always, as shipped, with sampling"
	build/ingest -spans $(BENCH_SPANS) -runs $(BENCH_RUNS) -config bench/nop.yaml,bench/store-only.yaml,bench/store-only.yaml+bench/always.yaml,config/local.yaml,config/local.yaml+config/overlays/production.yaml
	@echo "--- queries"; build/query -spans $(BENCH_SPANS)
	@echo "--- 50 clients while 20,000 spans a second arrive"; build/query -clients 50
	@echo "--- pii beside contrib's redaction processor"; go test -run '^$$' -bench . -benchmem ./processors/piiprocessor
	@echo "--- trace_metrics beside contrib's span_metrics and service_graph"; go test -run '^$$' -bench BesideContrib -benchmem ./components/tracemetricsconnector

.PHONY: bench-engine
bench-engine: ## the engine alone: a span to level 1, what merging takes from appends and queries, replay, 1 to 20 million spans
	go test -run '^$$' -bench 'Engine|Replay' -benchtime 3x ./internal/tracedb
	go test -run '^$$' -bench Interference -benchtime 10x ./internal/tracedb
	go run ./bench/scale -svg bench/scale.svg

.PHONY: bench-go
bench-go: ## Go benchmarks of the packages
	go test -run '^$$' -bench . -benchmem ./internal/... ./processors/... ./components/...

.PHONY: lint
lint: ## golangci-lint and checks that generated files are current
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	cd test/kube && go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint run --allow-parallel-runners ./...

.PHONY: fmt
fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

# A chart holds its files itself; these are kustomize's.
CHART_FILES = manifests/base/config/bramble.yaml manifests/components/cluster/cluster.yaml manifests/components/production/production.yaml \
	manifests/components/forward-to-tempo/forward.yaml $(wildcard manifests/components/remote-write/remote-write*.yaml)

.PHONY: generate
generate: ## regenerate components.go from builder-config.yaml, the components' metadata, and the chart's files
	@mkdir -p build
	$(TOOL) builder --config builder-config.yaml --skip-get-modules --skip-compilation
	cp build/ocb/components.go cmd/bramble/components.go
	go generate ./components/... ./exporters/... ./processors/...
	cp $(CHART_FILES) manifests/helm/files/

.PHONY: generate-check
generate-check: generate ## fail when a generated file is not what the sources say
	git diff --exit-code -- cmd/bramble/components.go '*generated_*' '*/documentation.md' '*/README.md' manifests/helm/files

.PHONY: check-full
check-full: test-deps test lint generate-check ## everything, including what takes long
	BRAMBLE_FULL=1 go test -timeout 60m ./internal/... ./test/...
	tools/fuzz.sh 60s
	$(MAKE) test-kube
	$(MAKE) build-arm64 test-arm64
	$(MAKE) build-slim build-plain
	BRAMBLE_BIN=$(CURDIR)/build/plain/bramble go test -count=1 -timeout 20m ./test/e2e

.PHONY: clean
clean: ## remove what the build made, not the data
	rm -rf bin build
