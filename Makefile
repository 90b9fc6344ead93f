# make demo | grid | test | lab | check | bench | browser | workflow | slurm | coverage | lock | clean
# Each target sets up .venv by itself, again only after requirements.lock or pyproject.toml changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

RIGHT_VERSION := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c '$(RIGHT_VERSION)' 2>/dev/null && echo $(name))))
BIN := .venv/bin
STAMP := .venv/installed
WORKFLOW := .venv/installed-workflow
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST = COVERAGE_FILE=.coverage.$@ $(BIN)/python -m pytest --cov --cov-report=
UNCOVERED := awk '!/%$$/ || /^TOTAL/ || $$NF + 0 < 90'  # of coverage's table: the total, and the files below 90 %

.PHONY: help demo grid test slow lab check bench browser workflow slurm coverage lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s%s\n", $$1, $$2}' Makefile

$(STAMP): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(RIGHT_VERSION)' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed (found: $(or $(PYTHON),none)): name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing into .venv (once, some minutes) ..."
	@$(BIN)/python -c '$(RIGHT_VERSION)' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(PIP) install --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## the whole study on the synthetic default data, eleven minutes on two idle cores
	$(BIN)/hpa run --profile demo

$(WORKFLOW): $(STAMP) workflow/requirements.lock
	@$(PIP) install --no-deps -r workflow/requirements.lock
	@touch $@

grid: $(WORKFLOW)  ## a small grid of runs under Snakemake (workflow/README.md), some minutes on two cores
	$(BIN)/hpa grid workflow/grid.yml

test: $(STAMP)  ## the fast tests, and which part of the library's lines they run
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile
	@COVERAGE_FILE=.coverage.test $(BIN)/coverage report | $(UNCOVERED)

slow: $(STAMP)  ## the slow tests: the whole chain of notebooks on a tiny data set
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile -m slow

lab: $(STAMP)  ## JupyterLab in notebooks/
	cd notebooks && ../$(BIN)/jupyter lab

check: $(STAMP)  ## ruff, and the notebooks are stored clean
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_notebooks.py tests/test_setup.py

bench: $(STAMP)  ## the benchmarks, each prints a small table (not models.py: for a GPU; nor those that need a run set)
	@for name in cache synthetic thresholds interval_coverage losses leaderboard training runner; do \
	  echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

browser: $(STAMP)  ## "Run all" in JupyterLab in a real Chromium (Debian's package, installed when missing)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	$(PYTEST) -m browser

workflow: $(WORKFLOW)  ## the tests of grids under Snakemake, with real processes
	$(PYTEST) -m workflow

slurm: $(WORKFLOW)  ## a grid through a one-node SLURM (Debian's packages, as root)
	$(PYTEST) -m slurm

coverage: $(STAMP)  ## which part of the library's lines the tests above ran together, subprocesses and notebooks included
	@$(BIN)/coverage combine --keep --quiet
	@set -o pipefail; $(BIN)/coverage report --fail-under=85 | $(UNCOVERED)

lock:  ## resolve pyproject.toml anew and rewrite requirements.lock and workflow/requirements.lock
	bash .ci/lock $(PYTHON)

clean:  ## remove caches and the environment; data/ and outputs/ stay
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
