# Everything runs in .venv, which the targets create; only python3, make and PyPI are needed.
# For another interpreter: make test PYTHON=python3.12 (after `make clean`, if .venv exists).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help quickstart test coverage lint format docs bench accuracy soak clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##/\1 #/p' Makefile | awk -F' # *' '{ printf "  make %-11s %s\n", $$1, $$2 }'

quickstart: $(VENV)/.installed-pictures  ## install, then compare methods on drawings of animals, offline (minutes)
	$(BIN)/vlprompt quickstart

# Without a limit on restarts, pytest-xdist 3.8 waits forever for the tests of a process that crashed.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --max-worker-restart 0 \
	--dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev  ## run all tests
	$(PYTEST)

coverage: $(VENV)/.installed-dev  ## run all tests and measure their coverage, which takes half as long again
	$(PYTEST) --cov

lint: $(VENV)/.installed-dev  ## ruff, mypy and the order of the packages; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-serve  ## measure speed and memory
	$(BIN)/python -m benchmarks

accuracy: $(VENV)/.installed-pictures  ## compare accuracies of a small grid with committed intervals (minutes)
	$(BIN)/python -m tools.accuracy

soak: $(VENV)/.installed-dev  ## kill runs a hundred times and resume them (minutes)
	$(BIN)/python -m tools.soak --kills 100

clean:  ## remove .venv and all build products
	rm -rf $(VENV) build dist site .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One stamp per set of extras; a changed pyproject.toml triggers a new installation.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable ".[pictures,$*]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "vlprompt needs Python 3.11 or newer, and $(PYTHON) is older; choose one, as in 'make PYTHON=python3.12'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
