# Each target sets up what it needs in .venv. Only Python and make are required; after the set-up no
# network is used.

.DEFAULT_GOAL := help
.PHONY: help demo dev unit test lint venv readme docs screenshots constraints clean

# The Python that creates .venv; choose another one with PYTHON=…
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		2>/dev/null && echo "$$python" && break; done)
endif

# Number of parallel test processes, and options for pytest: make test PYTEST_ARGS='-k ledger'
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt --root-user-action ignore
PINNED := pyproject.toml constraints.txt

help:
	@echo "make demo         run the whole chain on the last day of a sample Moodle site"
	@echo "make dev          start Dagster's web UI and daemon on this project"
	@echo "make unit         run the tests that need no server and no browser"
	@echo "make test         run all tests, with their own database servers and browser"
	@echo "make lint         check style, imports and types (ruff, import-linter, mypy)"
	@echo "make venv         set up .venv with the development tools, nothing else"
	@echo "make readme       write the table of settings into README.md"
	@echo "make screenshots  take the screenshots of the web UI in docs/images"
	@echo "make docs         write the generated tables and the schema of recipes into docs"
	@echo "make constraints  pin the newest versions that pyproject.toml allows"
	@echo "make clean        remove .venv and everything else that these targets created"

demo: .venv/ready
	@$(BIN)/caliper-dagster demo

dev: .venv/ready
	@$(BIN)/caliper-dagster dev

unit: .venv/ready-dev
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(PYTEST_ARGS) caliper_dagster_tests/unit

test: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(PYTEST_ARGS)

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
	@CALIPER_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q \
		caliper_dagster_tests/end_to_end/test_web_ui.py \
		caliper_dagster_tests/end_to_end/test_web_ui_of_commands.py

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

# Debian has venv in a separate package.
.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 to 3.14 is required but was not found; name one: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi
	@if ! "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
		package="$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "$(PYTHON) cannot create virtual environments; install the package $$package" >&2; \
			exit 1; \
		fi; \
		echo "Installing the Debian package $$package"; \
		apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
			"$$package" >/dev/null; \
	fi
	@"$(PYTHON)" -m venv .venv
