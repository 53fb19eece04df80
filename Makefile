# One command each: demo, dev, unit, test, lint. They set up what they need in .venv, from nothing
# but Python and make, and reach no network once that is done.

.DEFAULT_GOAL := help
.PHONY: help demo dev unit test lint venv readme docs screenshots constraints clean

# The Python to make .venv with; give PYTHON=… for another.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		2>/dev/null && echo "$$python" && break; done)
endif

# Processes that share the tests, and options for pytest: make test PYTEST_ARGS='-k ledger'
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt --root-user-action ignore
PINNED := pyproject.toml constraints.txt

help:
	@echo "make demo         the last day of a sample Moodle site, through the whole chain"
	@echo "make dev          Dagster's web UI and daemon on this project"
	@echo "make unit         the tests that need no server and no browser"
	@echo "make test         all tests, with their own database servers and browser"
	@echo "make lint         ruff, import-linter and mypy"
	@echo "make venv         only set up .venv, with the tools for development"
	@echo "make readme       write the settings into README.md"
	@echo "make screenshots  take the pictures of the web UI in docs/images"
	@echo "make docs         write the tables of events and columns and the schema of recipes into docs"
	@echo "make constraints  pin the newest versions that pyproject.toml allows"
	@echo "make clean        remove .venv and all that was made beside it"

demo: .venv/ready
	@$(BIN)/caliper-dagster demo

dev: .venv/ready
	@$(BIN)/caliper-dagster dev

unit: .venv/ready-dev
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS) caliper_dagster_tests/unit

test: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS)

lint: .venv/ready-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

venv: .venv/ready-dev

readme: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.unit.docs.test_readme

screenshots: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@CALIPER_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q caliper_dagster_tests/end_to_end/test_web_ui.py

docs: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.unit.docs.test_reference

constraints: .venv/ready-dev
	@$(PIP) install --upgrade uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make constraints" --all-extras --group build pyproject.toml \
		--output-file constraints.txt

clean:
	rm -rf .venv .demo .dagster_home .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# The build backend comes from constraints.txt too, hence no build isolation.
.venv/ready: $(PINNED) | .venv/bin/python
	@echo "Installing caliper-dagster into .venv"
	@$(INSTALL) pip setuptools
	@PYTHONWARNINGS=ignore $(INSTALL) --no-build-isolation --editable .
	@touch $@

.venv/ready-dev: $(PINNED) | .venv/bin/python
	@echo "Installing caliper-dagster and its development tools into .venv"
	@$(INSTALL) pip setuptools
	@PYTHONWARNINGS=ignore $(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch .venv/ready $@

# Debian ships venv in a package of its own.
.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11, 3.12 or 3.13 is needed and not found; name one: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi
	@if ! "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
		package="$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "$(PYTHON) cannot make virtual environments here; install the package $$package" >&2; \
			exit 1; \
		fi; \
		echo "Installing the Debian package $$package"; \
		apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
			"$$package" >/dev/null; \
	fi
	@"$(PYTHON)" -m venv .venv
