PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Everything that is installed is pinned with its hash; `make lock` writes these files anew.
SERVE_STAMP := $(VENV)/.serve
DEV_STAMP := $(VENV)/.dev
# Measured in CI only: it makes the tests a fifth slower.
COVERAGE := $(if $(CI),--cov --cov-report=term)
# CI has time, and a machine that others use too and that may stand still for seconds: fewer tests side by
# side, and what failed is tried once more and named at the end. What fails twice has failed.
PROCESSES := $(if $(CI),2,4)
AGAIN := $(if $(CI),--reruns 1 -r R)

.DEFAULT_GOAL := help
.PHONY: help serve test check fix bench kill-loop kill-loop-s3 outages lock clean

help: ## Show what each command does
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(SERVE_STAMP) ## Run the gateway; needs nothing but Python 3.11 or newer
	@$(BIN)/cidgate serve

test: $(DEV_STAMP) ## Run the tests; those that need Redis or Chromium run where these are found
	@$(BIN)/python -m pytest -n $(PROCESSES) -q $(COVERAGE) $(AGAIN)

check: $(DEV_STAMP) ## Check format, lint, types and imports, as CI does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(DEV_STAMP) ## Mend what format and lint can mend by themselves
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_STAMP) ## Print figures for targets; compares with Kubo where KUBO names its binary
	$(BIN)/python -m tests.benchmarks $(BENCH)

kill-loop: $(DEV_STAMP) ## 100 times: SIGKILL during uploads, then check that nothing was lost
	$(BIN)/python -m tests.durability.kill_loop --rounds 100

kill-loop-s3: $(DEV_STAMP) ## The same with a bucket: of versitygw where VERSITYGW or PATH has it, else of moto
	$(BIN)/python -m tests.durability.kill_loop --rounds 100 --s3

outages: $(DEV_STAMP) ## Redis, the S3 server (versitygw) and Postgres killed and started again under load
	$(BIN)/python -m tests.durability.outages --seconds 20

lock: ## Resolve the newest allowed versions and write the lock files (needs uv)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras \
	  --group build pyproject.toml --output-file requirements.txt --no-emit-index-url
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras \
	  --group build --group dev pyproject.toml --output-file requirements-dev.txt --no-emit-index-url

clean: ## Remove the virtual environment and caches; never touches data
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .coverage*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "cidgate needs Python 3.11 or newer; name one with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(SERVE_STAMP): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what cidgate needs (once, about a minute) …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(SERVE_STAMP)
	@echo "Installing what the tests need (once) …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@
