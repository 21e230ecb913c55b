# What people type here. Each target installs what it needs, or says exactly what to install.

CARGO ?= cargo
GO ?= go
TARGET = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo build test unit interop regions chart monitoring container packaging packages book bench lint fmt deny advisories tools test-tools

help: ## Shows this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Logs in, signs, verifies, refuses and shows the record: everything from nothing, in ./demo
	@$(TARGET)/debug/aaa demo --dir demo

build: tools
	@$(CARGO) build --quiet --bins

test: unit interop regions chart monitoring container packaging ## Runs every test: units, vectors, whole system, the real Choria, and the ways to install

unit: tools test-tools
	eval "$$(GO=$(GO) tests/tools.sh $(TARGET)/tools)" && $(CARGO) test --workspace --quiet

test-tools: ## Builds the servers that tests run, where they are missing
	@GO=$(GO) tests/tools.sh $(TARGET)/tools >/dev/null

interop: build
	@GO=$(GO) AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/interop/run.sh

regions: build test-tools ## Tests the example of a centre and two regions
	@AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/install/regions.sh $(TARGET)/tools

chart: build ## Tests the Helm chart
	@GO=$(GO) AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/install/helm.sh $(TARGET)/tools

monitoring: build ## Tests the alert rules and the dashboard
	@GO=$(GO) AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/install/monitoring.sh $(TARGET)/tools

container: build ## Tests the container image
	@AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/install/container.sh

packaging: build ## Tests the packages
	@GO=$(GO) AAA_BIN=$(abspath $(TARGET)/debug/aaa) tests/install/packages.sh $(TARGET)/tools

packages: tools ## Makes the deb and the rpm of a release, in target/packages
	@$(CARGO) build --quiet --release --package aaa
	@PATH="$(abspath $(TARGET)/tools):$$PATH" deploy/packages/build.sh $(TARGET)/release/aaa $(TARGET)/packages

book: ## Makes a book of the manual, in target/book; its commands and links are tried by make unit
	@mdbook --version >/dev/null 2>&1 || $(CARGO) install --locked mdbook
	mdbook build docs

bench: tools test-tools ## Measures the services and prints the tables of docs/benchmarks.md
	eval "$$(GO=$(GO) tests/tools.sh $(TARGET)/tools)" && tests/load/bench.sh
	$(CARGO) bench --quiet --package aaa-login --bench okta

lint: fmt deny ## Formatting, lints, and the dependency policy
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

fmt:
	$(CARGO) fmt --all --check

deny: tools
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --log-level error check bans licenses sources

advisories: ## Known vulnerabilities in what we depend on; fetches the advisory database
	$(CARGO) deny check advisories

tools:
	@deploy/need-tools.sh
