# Every target sets up what it needs and is quick the second time. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test check format kafka cluster parts lock wheel clean

PYTHON ?= python3
BIN    := .venv/bin
# The one thing kept outside this folder: what only tests and the broker need, fetched or built once. The demo never uses it.
export OPSBRAIN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/opsbrain
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.package  ## replay a recorded incident to one ranked, explained diagnosis
	@$(BIN)/opsbrain demo

test: .venv/.everything  ## run all tests, JOBS at once; ARGS="-k name" narrows them
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)
JOBS ?= 2

check: .venv/.everything  ## lint, format, types, layers: what CI runs before the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.everything  ## let ruff repair what it can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

kafka:  ## run one real Kafka broker on loopback until ctrl-c (Java 17 or newer; Maven the first time)
	@deploy/kafka/run.sh up $(ARGS)

cluster:  ## run a real Kubernetes control plane on loopback until ctrl-c (after make parts; etcd, curl, openssl)
	@deploy/cluster/run.sh up $(ARGS)

parts:  ## build what only tests run against: Collector, Prometheus 3.5, kwok, Kubernetes (Go 1.24 or newer; minutes, once)
	@deploy/parts/build.sh $(or $(ARGS),all)

lock: .venv/.everything  ## write the lock files anew; UPGRADE=--upgrade takes newer versions
	@$(BIN)/uv pip compile $(LOCK) --all-extras -o requirements-dev.lock
	@$(BIN)/uv pip compile $(LOCK) --constraint requirements-dev.lock -o requirements.lock
# fewest: one numpy for every Python, since the promise of equal bytes is a promise about the lock file.
LOCK = pyproject.toml --group build --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" $(UPGRADE)

wheel: .venv/.everything  ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

clean:  ## remove what the tools and the demo left here, .venv included
	@rm -rf .venv build dist out .kafka .cluster .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# The environment, in steps that are redone only when what they are made from changes.
.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: OpsBrain needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setting up .venv ..."
	@$(PYTHON) -m venv .venv || { \
	  echo "make: this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

.venv/.runtime: requirements.lock | .venv/.python
	@echo "installing what the application needs ..."
	@$(PIP) install --no-cache-dir --require-hashes -r requirements.lock
	@touch $@

.venv/.package: pyproject.toml .venv/.runtime
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.everything: requirements-dev.lock .venv/.package
	@echo "installing the test tools, torch (with CUDA, 4.7 GB) and prophet: some minutes ..."
	@$(PIP) install --cache-dir "$(OPSBRAIN_CACHE)/pip" --require-hashes -r requirements-dev.lock
	@touch $@
