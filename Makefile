# Two commands set everything up on a fresh Debian 12: `make demo` and `make test` (as root: they
# install Debian packages and make network namespaces). Everything else builds on the same set-up.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

# With bytecode kept, the many programs that tests start come up twice as fast.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup bpf check lint types unit test differential docs bench-control bench-simulation bench-compiler bench-datapath bench-nat bench clean demo demo-down

help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 22

setup: $(STAMP) ## install what is needed: Debian packages, a virtual environment
$(STAMP): pyproject.toml constraints.txt tools/install-debian
	tools/install-debian
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	touch $@

bpf: setup ## generate the C headers, compile the eBPF programs
	$(BIN)/python -m onehop.datapath.generate
	$(BIN)/python -m onehop.datapath.build

demo: setup ## a data centre on this machine: two hosts, an example tenant, real traffic (as root)
	$(BIN)/python -m onehop.lab.demo examples/lab.yaml

demo-down: setup ## take the demo down, also after a crash
	$(BIN)/onehop lab down demo

check: lint types unit ## lint, types, unit tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest -q tests/unit

test: setup lint types ## everything: installs what it needs, then lint, types and every test
	$(BIN)/pytest tests

differential: setup ## simulation and eBPF programs side by side: N packets by chance (100000), from SEED on
	DIFFERENTIAL_PACKETS=$(or $(N),100000) DIFFERENTIAL_SEED=$(or $(SEED),$$(date +%s)) $(BIN)/pytest -s --timeout=0 tests/differential/test_random.py

bench-control: setup ## figures of the control plane, on SQLite and on etcd (under ten minutes)
	$(BIN)/python -m bench.control

.PHONY: docs
docs: setup ## write the generated reference (docs/reference) and the CLI's description of the model
	$(BIN)/python -m onehop.cli.describe
	$(BIN)/python -m onehop.cli.reference

bench-simulation: setup ## packets/s of the Python simulation (half a minute)
	$(BIN)/python -m bench.simulation

bench-compiler: setup ## the compiler, from nothing and after a change (a few seconds)
	$(BIN)/python -m bench.compiler

bench-datapath: setup ## the datapath beside a cable, plain routing, and bridge + VXLAN + nft (as root; six minutes)
	$(BIN)/python -m bench.datapath

bench-nat: setup ## translation beside plain routing, and beside nft's masquerade; memory, blocks (as root; five minutes)
	$(BIN)/python -m bench.nat

bench: bench-simulation bench-compiler bench-datapath bench-nat bench-control ## every bench in turn

clean: ## remove what was built here
	rm -rf $(VENV) build dist src/onehop/datapath/built .mypy_cache .ruff_cache
