# Every verb of this repository. `make help` lists them; each does all of its own set-up.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help demo sandbox test soak bench check setup crds deploy lock clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## the main job, start to end, ending in a verdict
	@$(BIN)/secondsite demo

sandbox: $(READY) ## the same world, kept up until Ctrl-C
	@$(BIN)/secondsite sandbox

# By module, so that its fixtures are made once: pytest 9.2 does not see the groups of xdist 3.8.
test: check ## every check and every test
	@$(BIN)/python -m pytest -n 2 --dist loadscope

soak: $(READY) ## hundreds of kills and power cuts, five minutes; each engine broken on purpose must be caught
	@PYTHONPATH=operator:tests $(BIN)/python -m soak

bench: $(READY) ## the replication engine against rsync, QEMU, NBD tools; writes docs/benchmarks.md
	@PYTHONPATH=tests $(BIN)/python -m bench --write docs/benchmarks.md

check: $(READY) ## linter, types, import contracts, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/secondsite crds --check
	@$(BIN)/python -m secondsite.cli.install --check

crds: $(READY) ## write crds/ from the types in operator/secondsite/api
	@$(BIN)/secondsite crds --write

deploy: crds ## write deploy/install.yaml from deploy/base
	@$(BIN)/python -m secondsite.cli.install --write

setup: $(READY) ## the virtual environment only

# A marker file instead of the folder, so that an install that broke half-way is taken up again.
$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh tools/setup.sh "$(VENV)"
	@touch $(READY)

lock: ## renew requirements.lock (needs uv): exact versions and hashes, no addresses
	@uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras \
	  --group test --group lint --group build --generate-hashes --upgrade \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

clean: ## remove the virtual environment and caches of this checkout
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
