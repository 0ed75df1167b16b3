# These need nothing but Python 3.10-3.13:
#   make demo    segments the bundled clip
#   make test    runs the tests
#   make lint    checks style, formatting and types
#   make soak-server  runs a server with clients for a long time, two of them hostile
#   make soak    kills runs at random moments, 50 times each signal; full disks; segments 20,000 frames
#   make fuzz    tries damaged and made-up files, 20,000 of each kind twice, and requests to the server
#   make docs    builds the pages with the API reference into build/site
#   make test-lowest  runs tests with the lowest versions of requirements, on Python 3.10
#   make audit   asks for known vulnerabilities of the packages in .venv, writes build/sbom.json
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

# What runs without the extras.
CORE_TESTS = tests/deeplab tests/datasets tests/feelvos_tf/matching tests/feelvos_tf/inference \
	tests/feelvos_tf/training tests/feelvos_tf/test_segment.py

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow test-lowest lint docs audit fuzz soak soak-server clean

demo: $(VENV)/.core-installed
	$(BIN)/feelvos demo --output=$(DEMO_OUTPUT)
	@echo "Look at $(DEMO_OUTPUT)/overview.png and $(DEMO_OUTPUT)/overlay.mp4"

test: $(VENV)/.test-installed
	$(PYTEST)

test-slow: $(VENV)/.test-installed
	$(PYTEST) -m 'slow or not slow'

# The server's packages need TensorFlow 2.21; the core with 2.20 is an environment of its own.
LOWEST = $(BIN)/uv pip install --quiet --resolution lowest-direct --python
test-lowest: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	rm -rf .venv-lowest .venv-lowest-core
	$(BIN)/uv venv --quiet --python 3.10 .venv-lowest-core
	$(LOWEST) .venv-lowest-core -e '.[formats]' 'pytest>=8.0' 'pytest-xdist>=3.6' 'pytest-timeout>=2.3'
	.venv-lowest-core/bin/python -m pytest -q -rs -n $(TEST_WORKERS) --dist loadfile $(CORE_TESTS)
	$(BIN)/uv venv --quiet --python 3.10 .venv-lowest
	$(LOWEST) .venv-lowest -e '.[test]'
	.venv-lowest/bin/python -m pytest -q -rs -n $(TEST_WORKERS) --dist loadfile

# Damaged and made-up inputs: this many of each kind (of weights files a tenth, as each starts a process).
# Another SEED makes other ones. What was tried is added to build/soak.jsonl.
FUZZ_EXAMPLES ?= 20000
FUZZ_REQUESTS ?= 500
FUZZ = FEELVOS_SEED=$(SEED) FEELVOS_SOAK_NOTES=$(CURDIR)/build/soak.jsonl \
	$(BIN)/python -m pytest -q --timeout=0 --hypothesis-seed=$(SEED)
fuzz: $(VENV)/.fuzz-installed
	mkdir -p build
	FEELVOS_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(FUZZ) tests/faults/test_hostile_files.py
	FEELVOS_FUZZ_EXAMPLES=$(FUZZ_REQUESTS) $(FUZZ) tests/feelvos_tf/serving/test_made_up_requests.py
	PYTHONPATH=.:tests/support $(BIN)/python tests/faults/fuzz_readers.py --runs=$(FUZZ_EXAMPLES) \
		--seed=$(SEED) --notes=build/soak.jsonl

# What happened is added to build/soak.jsonl; tools/reliability_report.py makes docs/reliability.md of it.
KILLS ?= 50
FAULTS ?= 20
SEED ?= 1
FRAMES ?= 20000
soak: $(VENV)/.test-installed
	mkdir -p build
	FEELVOS_KILLS=$(KILLS) FEELVOS_FAULTS=$(FAULTS) FEELVOS_SEED=$(SEED) \
		FEELVOS_SOAK_NOTES=$(CURDIR)/build/soak.jsonl \
		$(BIN)/python -m pytest -q tests/faults/test_kills.py tests/faults/test_disturbed.py
	$(BIN)/python -m tools.soak_frames --frames=$(FRAMES) --seed=$(SEED) --notes=build/soak.jsonl

# Fails for a package that nobody could answer for, too: an index without data is no clean bill.
audit: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit cyclonedx-bom
	mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --of JSON -o build/sbom.json $(BIN)/python
	$(BIN)/python -m pip freeze --exclude-editable > build/audited.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r build/audited.txt

lint: $(VENV)/.lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typing && mkdir -p build/typing/feelvos_tf
	ln -s $(CURDIR)/feelvos_tf/* $(CURDIR)/datasets $(CURDIR)/deeplab $(CURDIR)/tools build/typing/feelvos_tf/
	$(BIN)/mypy

docs: $(VENV)/.docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Twenty minutes; SOAK_SECONDS=60 takes two.
SOAK_SECONDS ?= 600
soak-server: $(VENV)/.test-installed
	$(BIN)/python -m tools.benchmark_serving --soak_seconds=$(SOAK_SECONDS) --clients=16 --hostile_clients=2

clean:
	rm -rf $(VENV) .venv-lowest .venv-lowest-core $(DEMO_OUTPUT) build .pytest_cache .mypy_cache .ruff_cache

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

$(VENV)/.fuzz-installed: $(VENV)/.test-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

$(VENV)/.lint-installed: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.core-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@
