# `make demo` and `make test` need Python 3.11 to 3.13 and nothing else.
PYTHON ?= $(firstword $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p; done))
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test quick lint sweep bench verifier clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "bitvm-bridge needs Python 3.11, 3.12 or 3.13 on PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## play every story of the bridge on an embedded regtest chain
	@$(BIN)/bitvm-bridge demo

test: $(VENV)/.installed ## run the tests (minutes: the Groth16 verifier is compiled)
	@$(BIN)/pytest -n auto -q -m 'not sweep'

quick: $(VENV)/.installed ## those that do without the compiled verifier
	@$(BIN)/pytest -n auto -q

lint: $(VENV)/.installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sweep: $(VENV)/.installed ## the exhaustive tests (minutes)
	$(BIN)/pytest -n auto -q -m sweep

bench: $(VENV)/.installed ## sizes and times, next to public figures
	@$(BIN)/bitvm-bridge bench

verifier: $(VENV)/.installed ## the same and the Groth16 verifier (minutes)
	@$(BIN)/bitvm-bridge bench --program groth16

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
