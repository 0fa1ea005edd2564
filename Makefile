# Every routine, once: people, hooks and continuous integration call these targets.
# Two are enough to begin with: `make demo` and `make test`.

PYTHON ?= python3
STORE ?= results
export NO_MKDOCS_2_WARNING = 1

VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := $(sort $(wildcard collector/runners/*/requirements.txt))
STAMP := $(VENV)/.installed

.PHONY: help setup toolchains data demo test site lint format schema clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP) toolchains ## environment, runners' packages and toolchains of the other languages

# Packages come by pip: the exact versions stand in pyproject.toml and the runners' own requirements.txt.
$(STAMP): pyproject.toml $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) --version); expected Python 3.11 or newer. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "no virtual environment could be made; install it with: apt-get install python3-venv"; rm -rf $(VENV); exit 2; }
	@echo "installing packages into $(VENV) (about 4 GB, a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' $(addprefix --requirement ,$(REQUIREMENTS))
	@touch $@

toolchains: $(STAMP) ## Julia, Elixir and the compiled runners, where they are not there yet; never the system's own packages
	@$(BIN)/deadheat setup

data: $(STAMP) ## the data sets
	@$(BIN)/deadheat data fetch mnist

demo: setup data ## measure the demo suite, store it, build the site and say where it is
	$(BIN)/deadheat run demo --once --store $(STORE) || test $$? -eq 1 # 1: some run failed, which the pages show
	@$(BIN)/deadheat report --store $(STORE)
	@$(BIN)/deadheat site --store $(STORE)

test: setup data lint ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

site: $(STAMP) ## build the site from the store
	@$(BIN)/deadheat site --store $(STORE)

lint: $(STAMP) ## style, types, layers, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: $(STAMP) ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP) ## write anew what is made from the types: the schemas of the protocol, the roster of runners
	$(BIN)/python -m collector.cli.schema

clean: ## remove what was made, but neither results nor toolchains
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
