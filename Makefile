# podwire: every target sets itself up; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
APT = $(if $(filter 0,$(shell id -u)),,sudo )env DEBIAN_FRONTEND=noninteractive apt-get

.PHONY: help setup system system-test demo test check cases golden docs bench clean

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(STAMP): requirements/dev.lock
	@echo "setup: creating $(VENV) from requirements/dev.lock"
	@python3 -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) -m compileall -q src
	@touch $@

setup: $(STAMP) ## create the virtual environment from the lock file

system: # the kernel tools podwire needs
	@missing=(); command -v nft >/dev/null || missing+=(nftables); command -v ip >/dev/null || missing+=(iproute2); \
	if (( $${#missing[@]} )); then \
	  echo "setup: installing $${missing[*]} with apt-get (needed for Services and NetworkPolicy)"; \
	  $(APT) update -qq >/dev/null && $(APT) install -y -qq "$${missing[@]}" >/dev/null; fi

system-test: system # the stock clients the tests use
	@missing=(); command -v dig >/dev/null || missing+=(bind9-dnsutils); command -v curl >/dev/null || missing+=(curl); \
	if (( $${#missing[@]} )); then \
	  echo "setup: installing $${missing[*]} with apt-get (stock clients for the tests and the demo)"; \
	  $(APT) update -qq >/dev/null && $(APT) install -y -qq "$${missing[@]}" >/dev/null; fi

demo: setup system-test ## bring up examples/shop and walk through it
	@$(PY) examples/shop/demo.py

test: setup system-test ## run every test this machine allows
	@$(VENV)/bin/pytest -n 4 --dist loadgroup

check: setup ## format, lint, types, import contracts, repository tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/pytest tests/repo

cases: setup system-test ## run tests/cases at every depth this machine allows
	@$(VENV)/bin/pytest tests/cases

golden: setup ## rewrite the golden files of tests/cases
	@$(VENV)/bin/pytest tests/cases --golden

docs: setup ## rewrite the generated reference pages
	@$(PY) -m podwire.cli.reference docs/reference

bench: setup system ## measure (ONLY=startup|memory|pods|api-writes|api-list|api-watch|services-sync|services-change|connect|rolling), last line is JSON
	@$(PY) -m bench $(ONLY)

clean: ## remove the virtual environment, caches and left-over test clusters
	@[ ! -x $(VENV)/bin/podwire ] || $(VENV)/bin/podwire down --all
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
