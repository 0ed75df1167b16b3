# These need nothing but Python 3.10-3.13:
#   make demo    segments the bundled clip
#   make test    runs the tests
#   make lint    checks style, formatting and types
#   make docs    builds the pages with the API reference into build/site
# They create .venv and install what is missing; run again, they only do what is left to do.

VENV ?= .venv
# The first Python that this project runs on; override with PYTHON=/path/to/python3.12.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.10 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	>/dev/null 2>&1 && echo $$p && break; done)
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo_output
# Processes that run tests; a file of tests stays in one of them. Each takes up to 6 GB of memory.
TEST_WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -q -rs -n $(TEST_WORKERS) --dist loadfile

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow lint docs clean

demo: $(VENV)/.core-installed
	$(BIN)/feelvos demo --output=$(DEMO_OUTPUT)
	@echo "Look at $(DEMO_OUTPUT)/overview.png and $(DEMO_OUTPUT)/overlay.mp4"

test: $(VENV)/.test-installed
	$(PYTEST)

test-slow: $(VENV)/.test-installed
	$(PYTEST) -m 'slow or not slow'

lint: $(VENV)/.lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typing && mkdir -p build/typing/feelvos_tf
	ln -s $(CURDIR)/feelvos_tf/* $(CURDIR)/datasets $(CURDIR)/deeplab $(CURDIR)/tools build/typing/feelvos_tf/
	$(BIN)/mypy

docs: $(VENV)/.docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) build .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10-3.13 with venv found; install one (Debian:" \
		"apt-get install python3 python3-venv) or say which: make $(MAKECMDGOALS) PYTHON=..." >&2; \
		exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core-installed: $(VENV)/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.lint-installed: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@
