# make install | demo | grid | test | lab | check | bench | browser | workflow | slurm | coverage | lock | audit | clean
# Each target sets up .venv by itself with the locks that it needs, again only after a lock or pyproject.toml changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

RIGHT_VERSION := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c '$(RIGHT_VERSION)' 2>/dev/null && echo $(name))))
BIN := .venv/bin
USER := .venv/installed
DEVELOPER := .venv/installed-dev
WORKFLOW := .venv/installed-workflow
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes --no-deps -r
PYTEST = COVERAGE_FILE=.coverage.$@ $(BIN)/python -m pytest --cov --cov-report=
UNCOVERED := awk '!/%$$/ || /^TOTAL/ || $$NF + 0 < 90'  # of coverage's table: the total, and the files below 90 %

.NOTPARALLEL:
.PHONY: help install demo grid test slow lab check bench browser workflow slurm coverage lock audit clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s%s\n", $$1, $$2}' Makefile

$(USER): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(RIGHT_VERSION)' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed (found: $(or $(PYTHON),none)): name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing into .venv (once, some minutes) ..."
	@$(BIN)/python -c '$(RIGHT_VERSION)' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(INSTALL) requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOPER): $(USER) requirements-dev.lock
	@echo "installing what tests and checks need ..."
	@$(INSTALL) requirements-dev.lock
	@touch $@

$(WORKFLOW): $(USER) workflow/requirements.lock
	@$(INSTALL) workflow/requirements.lock
	@touch $@

install: $(USER)  ## the environment for all but tests and checks; then: source .venv/bin/activate

demo: $(USER)  ## the whole study on the synthetic default data, ten minutes on two idle cores
	$(BIN)/hpa run --profile demo

grid: $(WORKFLOW)  ## a small grid of runs under Snakemake (workflow/README.md), some minutes on two cores
	$(BIN)/hpa grid workflow/grid.yml

test: $(DEVELOPER)  ## the fast tests, and which part of the library's lines they run
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile
	@COVERAGE_FILE=.coverage.test $(BIN)/coverage report | $(UNCOVERED)

slow: $(DEVELOPER)  ## the slow tests: the whole chain of notebooks on a tiny data set
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile -m slow

lab: $(USER)  ## JupyterLab in notebooks/
	cd notebooks && ../$(BIN)/jupyter lab

check: $(DEVELOPER)  ## ruff, and the notebooks are stored clean
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_notebooks.py tests/test_setup.py

bench: $(DEVELOPER)  ## the speed page: outputs/reference/speed.csv and the table in bench/README.md, 20 minutes
	$(BIN)/python bench/all.py

browser: $(DEVELOPER)  ## "Run all" in JupyterLab in a real Chromium (Debian's package, installed when missing)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	$(PYTEST) -m browser

workflow: $(DEVELOPER) $(WORKFLOW)  ## the tests of grids under Snakemake, with real processes
	$(PYTEST) -m workflow

slurm: $(DEVELOPER) $(WORKFLOW)  ## a grid through a one-node SLURM (Debian's packages, as root)
	$(PYTEST) -m slurm

coverage: $(DEVELOPER)  ## which part of the library's lines the tests above ran together, subprocesses and notebooks included
	@$(BIN)/coverage combine --keep --quiet
	@set -o pipefail; $(BIN)/coverage report --fail-under=85 | $(UNCOVERED)

lock:  ## the newest versions that pyproject.toml allows into all three locks; bash .ci/lock keeps versions
	PYTHON=$(PYTHON) bash .ci/lock --upgrade

audit:  ## known vulnerabilities of the locked versions, which pip-audit asks the package index for
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && $(PYTHON) -m venv "$$work" && \
	  "$$work/bin/python" -m pip install --disable-pip-version-check --quiet pip-audit && \
	  "$$work/bin/pip-audit" --strict --disable-pip --require-hashes \
	    -r requirements.lock -r requirements-dev.lock -r workflow/requirements.lock

clean:  ## remove caches and the environment; data/ and outputs/ stay
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
