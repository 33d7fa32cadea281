# Each target does its own set-up, and repeats it only when the requirements change.
# The Pythons to try, in this order; PYTHON names another one.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python3.10 python)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test lint format chromium firefox nginx help

help:
	@echo "make run     start Sightline; options as in: make run ARGS='--port 9000 --open'"
	@echo "make test    run all tests, in a real browser too"
	@echo "make lint    check style and types"
	@echo "make format  rewrite the code in the one style"
	@echo "A certain Python (3.10 to 3.14) is chosen by: make run PYTHON=python3.12"

run: $(VENV)/.run-packages
	@exec $(BIN)/python app.py $(ARGS)

# Two processes, because tests often wait; each may hold a model of 256M. The tests of one file share
# servers and browsers, so they stay in one process. Without the reordering, files of few but long tests
# do not come last. A process that crashes ends the run: with a new one in its place, pytest-xdist 3.8.0
# waits for ever for the rest of its file.
test: $(VENV)/.test-packages chromium firefox nginx
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

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

# A .venv whose Python was removed, or is too old or too new, is made anew.
ifneq ($(shell $(BIN)/python -m vlm.system >/dev/null 2>&1 && echo fits),fits)
$(shell rm -f $(VENV)/.python $(VENV)/.run-packages $(VENV)/.test-packages)
endif

$(VENV)/.python:
	@{ $(BIN)/python -m vlm.system && { $(BIN)/python -m pip --version || $(BIN)/python -m ensurepip; }; } \
	>/dev/null 2>&1 || $(MAKE) --no-print-directory new-venv
	@touch $@

# The first Python that fits this system; if none does, the first one that is there says why.
.PHONY: new-venv
new-venv:
	@said=; for python in $(PYTHONS); do \
	  command -v $$python >/dev/null 2>&1 || continue; \
	  reason=$$($$python -m vlm.system 2>/dev/null) || { said="$${said:-$$reason}"; continue; }; \
	  $$python -m venv --clear $(VENV) && exit 0; \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv"; exit 1; \
	done; \
	echo "$${said:-There is no Python here ($(PYTHONS)). Install Python 3.14, or name one: make run PYTHON=...}"; \
	exit 1

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

# Some browser tests run in Firefox, too, and are skipped without it.
firefox:
	@for name in firefox-esr firefox; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Firefox for the browser tests ..."; \
	  apt-get update -qq && apt-get install -y -qq firefox-esr >/dev/null && exit 0; fi; \
	echo "The tests in Firefox are skipped: there is none here (Debian: apt install firefox-esr)."

# Some tests of the server put nginx in front, and are skipped without it. On Debian its folder is not
# on the PATH of ordinary users.
nginx:
	@for name in nginx /usr/sbin/nginx; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing nginx for the tests of proxies ..."; \
	  apt-get update -qq && apt-get install -y -qq nginx-light >/dev/null && exit 0; fi; \
	echo "The tests behind nginx are skipped: there is none here (Debian: apt install nginx-light)."
