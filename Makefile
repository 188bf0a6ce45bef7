# `make test` and `make demo` need Python 3.11 to 3.13, git and make; everything else they set up themselves, in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
# Without a user's configuration files the lock means the same everywhere; environment variables still choose an index.
UV := UV_NO_CONFIG=1 $(BIN)/uv
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# Plugins are named, because looking for them costs seconds. Three workers on two cores: tests wait a good part of their
# time, for servers that start and for moments that come.
PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -p xdist -p _hypothesis_pytestplugin \
	-n $(or $(WORKERS),3) --dist loadfile
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
# Where the system keeps certificates, they count: behind a proxy that signs anew, uv's own would refuse the index.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem),)
export UV_SYSTEM_CERTS ?= 1
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help setup test test-long demo lint format lock benchmarks clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: .venv/.ready  ## create .venv with everything locked (done by the others when needed)

.venv/.ready: requirements.lock bootstrap.lock pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(SUITABLE)' || { \
	  echo "Flyball needs Python 3.11, 3.12 or 3.13; $(or $(PYTHON),python3) is not one. Name one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (about half a minute, 1.4 GB)" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --no-input --require-hashes -r bootstrap.lock
	@$(UV) pip install -q --python $(BIN)/python --require-hashes --no-build -r requirements.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

test: setup lint  ## lint, then all tests but the long ones; ARGS="tests/unit -k drift" narrows
	$(PYTEST) -m "not long" $(ARGS)

test-long: setup  ## the long tests: faults, error rates of the statistics
	$(PYTEST) -m long $(ARGS)

demo: setup  ## the loop on real data, in under three minutes; KEEP=1 leaves the console up
	@PATH="$(CURDIR)/$(BIN):$$PATH" KEEP="$(KEEP)" $(BIN)/python examples/bike_sharing/demo.py $(ARGS)

lint: setup  ## formatting, rules, types, import directions
	@failed=""; \
	$(BIN)/ruff format --check --quiet --output-format concise || failed+=" formatting (make format mends it),"; \
	$(BIN)/ruff check --quiet --output-format concise || failed+=" rules,"; \
	$(BIN)/mypy --no-error-summary || failed+=" types,"; \
	imports=$$(PYTHONPATH=src $(BIN)/lint-imports --no-logo 2>&1) || { echo "$$imports"; failed+=" imports"; }; \
	[ -z "$$failed" ] || { echo "lint: failed:$${failed%,}" >&2; exit 1; }; \
	echo "lint: formatting, rules, types and import directions are in order" >&2

format: setup  ## format, and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock: setup  ## write the locks anew from pyproject.toml; ARGS=--upgrade takes newer releases
	@$(COMPILE) --extra dev pyproject.toml -o requirements.lock $(ARGS)
	@grep -oE '^uv==[0-9.]+' requirements.lock | $(COMPILE) --no-annotate - -o bootstrap.lock

benchmarks: setup  ## list the benchmarks, each with the command that runs it
	@$(BIN)/python benchmarks/list.py

clean:  ## remove caches, built files and the demo's output (not .venv)
	@rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	@find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
