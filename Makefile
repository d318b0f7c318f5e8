# Idiom: `make` lists the commands. Needed beforehand: Python 3.11, git, make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The environment first, so that the `python` of dvc.yaml's commands is this one, whatever is active in your shell.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Quiet runs: nothing here reports home, and tokenizers do not warn about forks.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export TOKENIZERS_PARALLELISM := false

MADE := .venv/.made

.PHONY: help env browser packages retrain repro ui stack doctor test quick lint format types audit sbom hooks clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  .venv/bin/idiom --help lists what the command line does (your own data: idiom init PATH)"

env: $(MADE) ## make the environment .venv from the pinned versions (about 2 minutes, with uv 10 seconds)

$(MADE): pyproject.toml constraints.txt infra/env.sh
	@bash infra/env.sh

browser: ## have the Chromium that the tests open pages in (Debian's package, where it is missing)
	@bash infra/browser.sh

packages: ## have the PostgreSQL that the local stack runs (Debian's package, where it is missing)
	@bash infra/stack.sh

stack: $(MADE) packages ## start PostgreSQL, S3, MLflow, Prefect and a worker here; `idiom stack stop` ends them
	@idiom stack start

retrain: $(MADE) ## the main job: the Prefect flow over all nine stages, then what came of it
	@idiom retrain

repro: $(MADE) ## the same graph by `dvc repro`, without Prefect
	@idiom repro

ui: $(MADE) ## open MLflow and Prefect on the stores of this workspace; Ctrl-C ends both
	@idiom ui

doctor: $(MADE) ## check versions, servers, disk and data, and say how to mend what is wrong
	@idiom doctor

test: $(MADE) browser packages lint types ## lint, types and all tests, as CI runs them
# One torch thread per test process: two that compete for two cores slow torch tenfold. By file, so that a
# server or a trained pair is made once, in the order of tests/conftest.py. Three of them, since a third of the
# time is waiting for servers.
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

quick: $(MADE) browser packages ## the tests that start no server and take under ten seconds each
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not server and not slow"

lint: $(MADE) ## ruff: rules and format
	ruff check .
	ruff format --check .

types: $(MADE) ## mypy
	mypy

format: $(MADE) ## mend what ruff can mend
	ruff check --fix .
	ruff format .

audit: $(MADE) ## look the pinned versions up in a list of known vulnerabilities (needs the network, and says so)
	@python -m infra.audit

sbom: $(MADE) ## write build/sbom.json: what this environment is made of, in CycloneDX, validated
	@mkdir -p build
	cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate --of JSON -o build/sbom.json .venv/bin/python

hooks: ## check what CI checks before each commit (.pre-commit-config.yaml)
	@command -v pre-commit >/dev/null || { echo "install it first: pipx install pre-commit"; exit 2; }
	pre-commit install --hook-type pre-commit --hook-type pre-push

clean: ## remove the environment and caches; data, artifacts and the MLflow and Prefect stores stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
