# Each target does its own set-up, and repeats it only when the requirements change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test lint format chromium help

help:
	@echo "make run     start Sightline; options as in: make run ARGS='--port 9000 --open'"
	@echo "make test    run all tests, in a real browser too"
	@echo "make lint    check style and types"
	@echo "make format  rewrite the code in the one style"
	@echo "A certain Python (3.10 to 3.13) is chosen by: make run PYTHON=python3.12"

run: $(VENV)/.run-packages
	@exec $(BIN)/python app.py $(ARGS)

# Two processes, because tests often wait; each may hold a model of 256M. The tests of one file share
# servers and browsers, so they stay in one process. Without the reordering, files of few but long tests
# do not come last.
test: $(VENV)/.test-packages chromium
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.test-packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-page; \
	else echo "Skipped eslint and prettier: there is no npm here."; fi

format: $(VENV)/.test-packages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory format-page; \
	else echo "Skipped eslint and prettier: there is no npm here."; fi

.PHONY: lint-page format-page
lint-page: node_modules/.packages
	npm run --silent lint

format-page: node_modules/.packages
	npm run --silent format

$(VENV)/.python:
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE) --no-print-directory new-venv
	@touch $@

.PHONY: new-venv
new-venv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	echo "Sightline needs Python 3.10 to 3.13. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run-packages: requirements.txt $(VENV)/.python
	@echo "Installing what Sightline needs; the first time this takes some minutes ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.test-packages: requirements.txt requirements-dev.txt $(VENV)/.python
	@echo "Installing what the tests need; the first time this takes some minutes ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run-packages

node_modules/.packages: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

# The tests use a Chromium or Chrome on the PATH, else playwright's own; tests that need curl are
# skipped without it.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable chrome
chromium: $(VENV)/.test-packages
	@if ! command -v curl >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing curl for the tests ..."; \
	  apt-get update -qq && apt-get install -y -qq curl >/dev/null || true; fi
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests ..."; \
	  apt-get update -qq && apt-get install -y -qq chromium >/dev/null && exit 0; fi; \
	$(BIN)/python -m playwright install chromium && exit 0; \
	echo "The browser tests need Chromium. Install it (Debian: apt install chromium) and try again."; \
	exit 1
