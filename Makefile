# Two commands: `make demo` shows it, `make test` tests it. Both set up what they need.
# They need Linux x86-64, make, Python 3.11 and a package registry that pip can reach.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

# Every target below that names $(READY) runs in the locked environment. The stamp makes a second
# call instant; a changed lock or project file brings the environment up to date.
$(READY): requirements.lock requirements/bootstrap.txt pyproject.toml
	@python="$$(.ci/find-python 3.11 "$(PYTHON)")"; \
	test -x $(BIN)/python || { echo "· creating $(VENV) with $$python"; "$$python" -m venv $(VENV); }
	@echo "· installing the locked packages (about 2.5 GB; some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(READY) ## create .venv from requirements.lock

# TFF's worker processes must not hold a pipe open, so neither of these two is ever piped.
.PHONY: demo
demo: $(READY) ## a small node, a request denied, one allowed, trained and audited
	@$(BIN)/sytff demo

.PHONY: test
test: $(READY) ## every test (ARGS="-m 'not slow'" for some)
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: lint
lint: $(READY) ## style, types, import directions, no secrets or machine's paths
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "not formatted: run 'make format'"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@.ci/hygiene
	@echo "lint: fine"

.PHONY: format
format: $(READY) ## what a formatter can mend
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

.PHONY: policies
policies: $(READY) ## the Rego library under both engines (OPA where it is to be had)
	@$(BIN)/python -m pytest --quiet tests/policy
	@.ci/policies

.PHONY: docs
docs: $(READY) ## the documentation, in docs/_build/html
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

.PHONY: check
check: lint docs policies test ## everything above but the demo

.PHONY: lock
lock: $(READY) ## resolve pyproject.toml anew into requirements.lock (ARGS=--upgrade for newer)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet \
	    --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
	    --override requirements/overrides.txt --generate-hashes --extra node --extra dev \
	    $(ARGS) pyproject.toml requirements/requirements.in -o requirements.lock

.PHONY: clean
clean: ## remove what was built, the environment too
	@rm -rf $(VENV) build dist docs/_build .*_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
