# The only entry point for people and CI. `make help` lists the targets.

CARGO   ?= cargo
TRIPLE  := $(shell uname -m)-unknown-linux-musl
STATIC  := target/$(TRIPLE)/release/wherry
PLANTED := target/planted/$(TRIPLE)/debug/wherry
PREFIX  ?= /usr/local
DESTDIR ?=
# For each target.
FUZZ_SECONDS       ?= 600
FUZZ_SMOKE_SECONDS ?= 20

RUN_INTEGRATION = $(CARGO) run -q -p wherry-integration
SWEEP           = WHERRY_WRITE_FIGURES=1

# Recipes below say target/: a directory elsewhere would leave them with old files.
export CARGO_TARGET_DIR := $(CURDIR)/target
export WHERRY_COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help build static planted demo check test integration vm crash faults sample engines bench timeline fuzz fuzz-smoke fmt lint unit deny sources cross man completions install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## debug build for this machine
	$(CARGO) build

static: ## release build without shared libraries, in target/TRIPLE/release
	@scripts/rust-target $(TRIPLE)
	$(CARGO) build --release --target $(TRIPLE)

# Fails in the child where WHERRY_PLANT says: for tests only.
planted:
	@scripts/rust-target $(TRIPLE)
	$(CARGO) build --target $(TRIPLE) --target-dir target/planted --features libcontainer/plant

demo: static ## run a container and show what it sees (root)
	@scripts/needs busybox-static
	@examples/demo.sh $(STATIC)

check: fmt lint unit sources cross deny ## everything that needs no root, as CI does

fmt: ## formatting as it should be (cargo fmt makes it so)
	$(CARGO) fmt --all --check

lint: ## clippy and rustdoc without a warning
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet

unit: ## tests that need no root
	@scripts/needs procps gcc libc6-dev libseccomp-dev golang-github-containers-common
	WHERRY_ORACLES=1 $(CARGO) test --quiet -p wherry -p wherry-container -p wherry-fuzz

sources: ## length of files, and unsafe only where it belongs
	@scripts/check-sources

cross: ## the other architecture compiles
	@scripts/rust-target aarch64-unknown-linux-musl
	$(CARGO) check --quiet --target aarch64-unknown-linux-musl

deny: ## licences, bans and sources of dependencies (skipped without cargo-deny)
	@if command -v cargo-deny >/dev/null; then cargo-deny check bans licenses sources; \
	else echo 'deny: 0 passed, 0 failed, 1 skipped (cargo-deny is not installed)'; fi

test: unit static planted integration ## all tests; those of integration need root

integration: static planted ## effects in the kernel, with the host's cgroup tree and with cgroup v2 (root)
	@scripts/needs gcc libc6-dev busybox-static iproute2 procps strace uidmap
	RUNTIME=$(CURDIR)/$(STATIC) RUNTIME_PLANT=$(CURDIR)/$(PLANTED) $(CARGO) run -q -p wherry-integration
	WHERRY_VIEW=v2 RUNTIME=$(CURDIR)/$(STATIC) RUNTIME_PLANT=$(CURDIR)/$(PLANTED) $(CARGO) run -q -p wherry-integration

vm: static planted ## integration tests in a virtual machine: systemd, cgroup v2, AppArmor (root; FILTER=case)
	@scripts/needs gcc libc6-dev
	$(CARGO) build --quiet --target $(TRIPLE) -p wherry-integration
	RUNTIME_PLANT=$(CURDIR)/$(PLANTED) integration/vm/vm suite $(FILTER)

# Figures in docs/security-figures.md are written by these two; the peers' violations are theirs.
crash: static ## SIGKILL at every system call of each command, peers beside it (root, 12 min)
	@scripts/needs busybox-static crun runc
	$(SWEEP) WHERRY_SWEEP=crash RUNTIME=$(CURDIR)/$(STATIC) $(RUN_INTEGRATION)
	-$(SWEEP) WHERRY_SWEEP=crash WHERRY_SWEEP_SECONDS=150 RUNTIME=$(shell command -v crun || echo crun) $(RUN_INTEGRATION)
	-$(SWEEP) WHERRY_SWEEP=crash WHERRY_SWEEP_SECONDS=150 RUNTIME=$(shell command -v runc || echo runc) $(RUN_INTEGRATION)

faults: static ## every system call of each command fails once, with each errno that it may return (root, 20 min)
	@scripts/needs busybox-static
	$(SWEEP) WHERRY_SWEEP=faults RUNTIME=$(CURDIR)/$(STATIC) $(RUN_INTEGRATION)

sample: static ## a sample of crash and faults with a fixed seed (root, 2 min)
	@scripts/needs busybox-static
	WHERRY_SEED=1 WHERRY_SWEEP_SECONDS=60 WHERRY_SWEEP=crash RUNTIME=$(CURDIR)/$(STATIC) $(RUN_INTEGRATION)
	WHERRY_SEED=1 WHERRY_SWEEP_SECONDS=60 WHERRY_SWEEP=faults RUNTIME=$(CURDIR)/$(STATIC) $(RUN_INTEGRATION)

engines: static ## containerd, podman and docker with wherry (root)
	RUNTIME=$(CURDIR)/$(STATIC) integration/engines/run

bench: ## wherry beside other runtimes and the floor of kernel work (root)
	benches/run

timeline: static ## draw docs/timeline.svg from a trace of a real start (root)
	@scripts/needs busybox-static
	$(CARGO) build -q -p wherry-container --example timeline
	@examples/timeline.sh $(STATIC) target/debug/examples/timeline docs/timeline.svg

fuzz: ## every fuzz target for FUZZ_SECONDS (nightly Rust and cargo-fuzz)
	fuzz/run $(FUZZ_SECONDS)

fuzz-smoke: ## every fuzz target for FUZZ_SMOKE_SECONDS
	fuzz/run $(FUZZ_SMOKE_SECONDS)

man: build ## write docs/man from the table of commands
	@mkdir -p docs/man
	target/debug/wherry generate man docs/man

completions: build ## write shell completions to target/completions
	@mkdir -p target/completions
	target/debug/wherry generate completions bash >target/completions/wherry
	target/debug/wherry generate completions zsh >target/completions/_wherry
	target/debug/wherry generate completions fish >target/completions/wherry.fish

install: static completions ## binary, manual pages and completions to DESTDIR/PREFIX
	install -D -m 755 $(STATIC) $(DESTDIR)$(PREFIX)/bin/wherry
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -D -m 644 target/completions/wherry $(DESTDIR)$(PREFIX)/share/bash-completion/completions/wherry
	install -D -m 644 target/completions/_wherry $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_wherry
	install -D -m 644 target/completions/wherry.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/wherry.fish

clean: ## remove what was built
	$(CARGO) clean
