# Everything is set up below this directory; nothing is installed system-wide. A target that is up to date does nothing.
SHELL := /bin/sh
BIN := .venv/bin
CLIENTS := .venv-clients
PEERS := .venv-peers
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Tests start hundreds of processes: each would compile anew what it imports where bytecode is not kept.
export PYTHONDONTWRITEBYTECODE :=

# The first Python that is new enough and starts.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: setup clients peers stubs check test chaos cuda demo example-image_classifier example-batch example-digits example-reviews \
	example-regression example-tabular bench bench-peers bench-overload bench-loads bench-jobs bench-train clean

setup: .venv/.installed

clients: $(CLIENTS)/.installed

.venv/.installed: pyproject.toml constraints.txt $(wildcard services/*/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later was not found; name it with PYTHON=..." >&2; exit 1; }
	@echo "setting up .venv (torch among it: this takes minutes the first time)" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[server,local,dev]' \
		--editable services/registry --editable services/scheduler --editable 'services/worker[cpu]'
	@touch $@

$(CLIENTS)/.installed: tests/conformance/clients/requirements.txt | setup
	@echo "setting up $(CLIENTS)" >&2
	@$(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python $(PIP_INSTALL) --requirement $<
	@touch $@

# Triton, MLServer and perf_analyzer, to be measured against.
peers: $(PEERS)/.installed

$(PEERS)/.installed: bench/peers/install.py constraints.txt | setup
	@echo "setting up $(PEERS)" >&2
	@$(BIN)/python -m bench.peers.install
	@touch $@

# Generate the messages of protos/ anew.
stubs: setup
	@$(BIN)/python scripts/stubs.py

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/stubs.py --check
	$(BIN)/lint-imports --no-logo

# Unit, integration and conformance tests, on a real etcd, a real Redis and real processes.
# In the order of collection, which ends with the unit tests: short files keep both processes busy to the end.
test: setup clients
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What takes long: killing, stopping and cutting off processes again and again.
chaos: setup
	$(BIN)/python -m pytest -m chaos -s

# What needs a GPU; where there is none all of it is skipped, and says so. cuda-results.xml records what ran.
cuda: setup
	$(BIN)/python -m pytest -m cuda -rA --junit-xml cuda-results.xml

demo: setup
	@$(BIN)/python -m examples.digits.demo

# Registered with what it needs, found by conditions, loaded where it fits, called, unloaded.
example-image_classifier: setup
	@$(BIN)/python -m examples.image_classifier.demo

# A CSV file in, a Parquet file out, and one row that is given up.
example-batch: setup
	@$(BIN)/python -m examples.batch.demo

example-digits: demo

# Text in, label and score out. ARGS="--data REVIEWS": a CSV or JSONL file with text and label, or IMDB's directory.
example-reviews: setup
	@$(BIN)/python -m examples.reviews.demo $(ARGS)

# 100 numbers in, 100 numbers out.
example-regression: setup
	@$(BIN)/python -m examples.regression.demo

# A CSV file of two classes, one of which is rarer.
example-tabular: setup
	@$(BIN)/python -m examples.tabular.demo

# JSON on standard output: what a call costs; how long a search, a push and a pull, and a registry's start take.
bench: setup
	@$(BIN)/python -m bench.online
	@$(BIN)/python -m bench.search
	@$(BIN)/python -m bench.registry_start
	@$(BIN)/python -m bench.transfer

# Side by side with Triton and MLServer; tables on standard error, JSON on standard output. ARGS=--quick to see it run.
bench-peers: setup peers
	@$(BIN)/python -m bench.peers $(ARGS)

# Goodput and memory at up to three times the capacity.
bench-overload: setup
	@$(BIN)/python -m bench.overload $(ARGS)

# Memory over 200 loads and unloads.
bench-loads: setup
	@$(BIN)/python -m bench.loads $(ARGS)

# Jobs: the queue alone, fairness, balance, overtaking, speculation, the cost of the leader, leftovers, memory, small jobs.
# Each is a bound in its exit status; all are run, whatever becomes of one.
JOB_BENCHES := bench.queue $(addprefix bench.lane.,fairness balance overtaking speculation leader leftovers memory small) bench.jobs

bench-jobs: setup
	@failed=; for bench in $(JOB_BENCHES); do $(BIN)/python -m $$bench || failed="$$failed $$bench"; done; \
		test -z "$$failed" || { echo "missed:$$failed" >&2; exit 1; }

# Training: recovery from a killed rank, overhead against a bare script (in rounds, and in the same processes), a worker
# that joins, one worker against two, what a checkpoint costs.
bench-train: setup
	@for bench in recovery overhead turns joining scaling checkpoint; do $(BIN)/python -m bench.train.$$bench || exit 1; done

clean:
	rm -rf .venv $(CLIENTS) $(PEERS) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache examples/node/node_modules
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
