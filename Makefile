# `make chat` and `make test` are the two commands; both build `.venv` when it is missing.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STEPS ?= 4000

.PHONY: chat test walk lint format docs clean

chat: $(VENV)/.installed
	$(BIN)/tui-chat

# Two processes share two cores: a thread of its own for each, since torch's would wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

# A random walk through the real program, as long as you like: make walk STEPS=100000
walk: $(VENV)/.installed-test
	$(BIN)/python -m tests.e2e.walk --steps $(STEPS) $(if $(SEED),--seed $(SEED)) \
		$(if $(MODEL),--model $(MODEL))

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# An installed torch in the supported range is kept; a missing one is asked for by the newest
# release of the range alone, so that no newer build is fetched first.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet "torch>=2.7.1,<2.14"
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m compileall -q tui_chat
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

docs: $(VENV)/.installed-test
	$(BIN)/python -m scripts.write_docs
	$(BIN)/python -m scripts.make_pictures

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
