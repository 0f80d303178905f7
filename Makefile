# What people and CI run. Everything is built in this folder; nothing is installed but what `deps` names.

CARGO ?= cargo
# Clippy checks all code and dependencies without keeping what the tests could use; see .ci/cargo.toml.
CLIPPY ?= $(CARGO) clippy
DENY ?= -- -D warnings

.PHONY: help demo plugins test languages bench lint deps deps-test deps-languages deps-lint

help:
	@echo "make demo    SQLite tables, changed on both sides, brought into agreement; one by a plugin"
	@echo "make plugins the plugins in plugins/, compiled to target/plugins"
	@echo "make test    all tests, on private database servers"
	@echo "make languages  the plugins in C++, Zig, Go, AssemblyScript and JavaScript, built from source and tested"
	@echo "make bench   measurements in release, written to target/bench.json"
	@echo "make lint    format, clippy, licences and sources of the dependencies"

# What it takes to build: a C compiler for SQLite, and Rust itself.
deps:
	@scripts/need cc:gcc make:make
	@scripts/need --manual cargo "https://rustup.rs"

deps-test: deps
	@scripts/need postgres:postgresql mariadbd:mariadb-server mariadb-install-db:mariadb-server clang:clang wasm-ld:lld python3:python3 node:nodejs npm:npm
	@python3 -c 'import ensurepip, venv' || scripts/need venv:python3-venv

# Compilers come as packages of Python and npm, into folders of their own under target.
deps-languages: deps
	@scripts/need clang:clang wasm-ld:lld python3:python3 node:nodejs npm:npm
	@python3 -c 'import ensurepip, venv' || scripts/need venv:python3-venv

deps-lint: deps

demo: deps
	@CARGO="$(CARGO)" scripts/demo

# The tests compile them by themselves.
plugins: deps
	$(CARGO) run --quiet --package concord-tests --bin plugins

test: deps-test
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) test --no-fail-fast --locked --manifest-path plugins/Cargo.toml --target-dir target/plugins

languages: deps-languages
	$(CARGO) test --package concord-tests --test main -- plugins::languages --include-ignored

# The examples in C, Python and TypeScript are built by their tests; what is not built is told by the measurements, and left out.
bench: deps-test
	-$(CARGO) test --package concord-tests --test main -- the_example_does_what_its_readme_says
	$(CARGO) run --release --package concord-tests --bin bench

lint: deps-lint
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path plugins/Cargo.toml
	$(CLIPPY) --workspace --all-targets $(DENY)
	# The engine without its fault points. There are no examples: they stand for the dependencies of tests, with which others are
	# compiled as before, and not once more.
	$(CLIPPY) --workspace --bin concord --examples --no-default-features $(DENY)
	# Checked alone: as libraries of this machine they cannot be linked.
	$(CARGO) clippy --workspace --all-targets --manifest-path plugins/Cargo.toml --target-dir target/plugins -- -D warnings
	scripts/lint-sources
	scripts/lint-dependencies
