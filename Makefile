# make demo | test | check | lint | ui | perf: each sets up .venv first if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many processes as tests/conftest.py says; one thread each, as the tests' matrices are tiny and threads that wait for
# one another take half as long again. The tests of a file stay together, so that they share what they set up.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.ready

.PHONY: help demo test check lint ui perf
.DEFAULT_GOAL := help

help:
	@echo "make demo   build the zoo, run the whole chain, print what to do next"
	@echo "make test   run the tests"
	@echo "make check  run the linters and the tests that take seconds, in a few minutes"
	@echo "make ui     the Dagster UI on this home"
	@echo "make lint   ruff, pyright and the import rules"
	@echo "make perf   measure speed and quality (takes minutes)"

# torch goes first and alone: asked for with an exact version it comes as the build the index offers for this machine,
# while a resolver's newest choice would bring several GB of CUDA packages. uv resolves the rest in seconds, pip in minutes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "embedllm needs Python 3.11 or newer, found " + sys.version.split()[0] + "; run: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,api,serve]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # else each process compiles what it imports
	@touch $@

demo: $(READY)
	@$(BIN)/embedllm demo

test: $(READY)
	$(TESTS) --durations=30

check: lint
	$(TESTS) -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

ui: $(READY)
	@$(BIN)/embedllm ui

perf: $(READY)
	@for script in perf/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
