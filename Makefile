# Each target sets up what it needs in .venv. Only Python and make are required; after the set-up no
# network is used.

.DEFAULT_GOAL := help
.PHONY: help install demo dev unit test lint venv docs screenshots constraints clean

# The Python that creates .venv; choose another one with PYTHON=…
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		2>/dev/null && echo "$$python" && break; done)
endif

# The commands and the tests start many processes: without stored byte code, each of them compiles
# the whole package.
unexport PYTHONDONTWRITEBYTECODE

# Number of parallel test processes, and options for pytest: make test PYTEST_ARGS='-k ledger'.
# Without a number there are two, and three for the unit tests: while one of them waits for a clock,
# the others work.
TEST_PROCESSES ?=
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt --root-user-action ignore
PINNED := pyproject.toml constraints.txt

help:
	@echo "make demo         run the whole chain on the last day of a sample Moodle site"
	@echo "make dev          start Dagster's web UI and daemon on this project; PORT=… instead of 3000"
	@echo "make install      set up .venv with the command caliper-dagster, nothing else"
	@echo "make unit         run the tests that need no server and no browser"
	@echo "make test         run all tests, with their own database servers and browser"
	@echo "make lint         check style, imports and types (ruff, import-linter, mypy)"
	@echo "make venv         set up .venv with the development tools, nothing else"
	@echo "make screenshots  take the screenshots of the web UI in docs/images"
	@echo "make docs         write the generated tables and the schema of recipes into docs"
	@echo "make constraints  pin the newest versions that pyproject.toml allows"
	@echo "make clean        remove .venv and everything else that these targets created"

install: .venv/ready

demo: .venv/ready
	@$(BIN)/caliper-dagster demo

dev: .venv/ready
	@$(BIN)/caliper-dagster dev $(if $(PORT),--port $(PORT))

unit: .venv/ready-dev
	@$(BIN)/python -m pytest -n $(or $(TEST_PROCESSES),3) --dist worksteal \
		--hypothesis-profile=quick $(PYTEST_ARGS) caliper_dagster_tests/unit

test: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@$(BIN)/python -m pytest -n $(or $(TEST_PROCESSES),2) --dist worksteal $(PYTEST_ARGS)

lint: .venv/ready-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

venv: .venv/ready-dev

screenshots: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@CALIPER_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q \
		caliper_dagster_tests/end_to_end/test_web_ui.py \
		caliper_dagster_tests/end_to_end/test_web_ui_of_commands.py \
		caliper_dagster_tests/end_to_end/test_web_ui_of_a_failure.py

docs: .venv/ready-dev
	@$(BIN)/python -m caliper_dagster_tests.unit.docs.test_reference
	@$(BIN)/python -m caliper_dagster_tests.harness.servers ensure
	@CALIPER_WRITE_DOCS=1 $(BIN)/python -m pytest -q caliper_dagster_tests/real_site/test_migration.py

constraints: .venv/ready-dev
	@$(PIP) -qq install --upgrade uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make constraints" --all-extras --group build pyproject.toml \
		--output-file constraints.txt

clean:
	rm -rf .venv .demo .dagster_home .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# Installs a package with the pinned versions, and shows which dependency pip has come to: on one
# line of a terminal, elsewhere every tenth. From its first error on, it shows all that pip says.
define install
PYTHONWARNINGS=ignore; export PYTHONWARNINGS; \
$(INSTALL) -qq pip setuptools || exit; \
{ $(INSTALL) --no-build-isolation --editable '$(1)' 2>&1 && echo installed; } | { \
	number=0; failed=; \
	show() { if [ -t 1 ]; then printf '\r\033[K  %s' "$$1"; fi; }; \
	while IFS= read -r line; do \
		case "$$failed$$line" in \
		installed) show; if [ -t 1 ]; then printf '\r'; fi; exit 0 ;; \
		Collecting\ * | Processing\ *) \
			name=$${line#* }; name=$${name%% *}; name=$${name##*/}; name=$${name%%[<>=!~;[]*}; \
			number=$$((number + 1)); show "package $$number: $${name%%-[0-9]*}"; \
			if [ ! -t 1 ] && [ $$((number % 10)) = 0 ]; then echo "  $$number packages"; fi ;; \
		Installing\ collected\ *) show "unpacking $$number packages"; \
			if [ ! -t 1 ]; then echo "  unpacking $$number packages"; fi ;; \
		ERROR* | *error:* | failed*) if [ -z "$$failed" ]; then show; fi; \
			failed=failed; echo "$$line" ;; \
		esac; \
	done; \
	exit 1; \
}
endef

# The build backend comes from constraints.txt too, hence no build isolation.
.venv/ready: $(PINNED) | .venv/bin/python
	@echo "Installing caliper-dagster into .venv, which takes a few minutes"
	@$(call install,.)
	@touch $@

.venv/ready-dev: $(PINNED) | .venv/bin/python
	@echo "Installing caliper-dagster and its development tools into .venv, which takes a few minutes"
	@$(call install,.[dev])
	@# Without these, each of the test processes would compile the package and all tests.
	@$(BIN)/python -m compileall -q caliper_dagster
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true
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
