# Everything a user or a developer does, on a machine with Python 3.11 to 3.13 and make.
# Each target sets up .venv by itself.

VENV := .venv
BIN := $(VENV)/bin
ALWAYS := embedded,memory,postgres,evals,server,studio,pictures,dev
EXTRAS ?=
DEV ?=# more options for langgraph dev
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CLUSTER := .venv-cluster
# Aegra wants 3.12: from the path, else beside the Python that runs here, as pyenv has them.
BESIDE := $(shell $(or $(PYTHON),python3) -c 'import pathlib, sys; print(pathlib.Path(sys.base_prefix).parent)' 2>/dev/null)
PYTHON_CLUSTER ?= $(shell for p in python3.12 python3.13 $(wildcard $(BESIDE)/3.1[23].*/bin/python); do \
	$$p -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
NPM_QUIET := --no-audit --no-fund --ignore-scripts --loglevel=error
Q ?= What is the nature of consciousness?
override Q := $(value Q)# as it was typed, with every $
export Q

.DEFAULT_GOAL := help
.PHONY: help install ask test test-all test-unit test-evals test-integration test-quick test-slow \
	test-cluster test-browser \
	docs page page-types check-page check format dev assistants picture bench lock

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

install: $(STAMP) ## put everything into .venv; EXTRAS=huggingface adds more
	@if [ -n "$(EXTRAS)" ]; then echo "Installing $(EXTRAS)"; $(PIP) -e ".[$(ALWAYS),$(EXTRAS)]"; fi

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11, 3.12 or 3.13 is needed and was not found; name one: make PYTHON=/path/to/python"; exit 1; fi
	@[ -x $(BIN)/python ] || { echo "Creating $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing into $(VENV) (about a minute)"
	@$(PIP) -e ".[$(ALWAYS)]"
	@touch $@

ask: install ## answer a question: make ask Q="What is the nature of consciousness?"
	@$(BIN)/swarm-brain ask -- "$$Q"

test: test-unit test-evals test-quick ## unit tests, evals and the quick integration tests

test-all: test test-slow check-page test-browser test-cluster ## all tests; CI runs the same parts

test-unit: install ## tests without any network
	@start=$$(date +%s); $(BIN)/pytest tests/unit -n 2 && echo "time: unit tests $$(($$(date +%s) - start)) s"

test-evals: install ## tests of the evals: scoring, statistics, arms, report; no network
	@start=$$(date +%s); $(BIN)/pytest tests/evals -n 2 && echo "time: tests of the evals $$(($$(date +%s) - start)) s"

test-integration: test-quick test-slow ## tests against real processes on loopback

test-quick: install ## those that `make test` runs; each kind of server once
	@start=$$(date +%s); $(BIN)/pytest tests/integration -m "not slow and not alone" -n 2 \
	  && echo "time: quick integration tests $$(($$(date +%s) - start)) s"

test-slow: install ## those that take longer, and those that measure time
	@start=$$(date +%s); $(BIN)/pytest tests/integration -m "slow and not alone" -n 2 \
	  && $(BIN)/pytest tests/integration -m alone \
	  && echo "time: slow integration tests $$(($$(date +%s) - start)) s"

test-cluster: install $(CLUSTER)/.installed ## two Aegra workers over PostgreSQL and Redis; not part of `test`
	@start=$$(date +%s); $(BIN)/pytest tests/cluster -rs -s && echo "time: tests of a cluster $$(($$(date +%s) - start)) s"

$(CLUSTER)/.installed: pyproject.toml constraints.txt
	@if [ -z "$(PYTHON_CLUSTER)" ]; then \
	  echo "SKIPPED: Aegra needs Python 3.12 or 3.13, and none was found; name one: make test-cluster PYTHON_CLUSTER=/path/to/python"; \
	else \
	  [ -x $(CLUSTER)/bin/python ] || { echo "Creating $(CLUSTER) with $$($(PYTHON_CLUSTER) --version)"; $(PYTHON_CLUSTER) -m venv $(CLUSTER); } && \
	  echo "Installing into $(CLUSTER) (about a minute)" && \
	  $(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[memory,postgres,server,aegra]" && \
	  touch $@; \
	fi

test-browser: install ## the page in Chromium, before the real server; not part of `test`
	@start=$$(date +%s); $(BIN)/pytest tests/browser -rs && echo "time: tests in the browser $$(($$(date +%s) - start)) s"

page-types: install ## write the types of the page's events
	@$(BIN)/python docs/wire.py

page: page-types ## build the page (swarm_brain/page) into what is served (needs Node 20.19)
	@cd swarm_brain/page && npm ci $(NPM_QUIET) && npm run --silent check && npm test --silent && npm run --silent build

check-page: ## types and tests of the page; that the committed build is what its source gives
	@if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; then \
	  echo "SKIPPED: Node 20.19 or later is needed to compare the page with its source, and was not found"; \
	else \
	  fresh=$$(mktemp -d) && cd swarm_brain/page && npm ci $(NPM_QUIET) && npm run --silent check && npm test --silent && \
	  npm run --silent build -- --outDir "$$fresh" --logLevel error && \
	  { diff -r "$$fresh" ../server/static || { echo "The committed build is not what the source gives: make page"; exit 1; }; }; \
	fi

check: install ## ruff, mypy --strict and the import directions
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/pytest tests/unit/test_imports.py

format: install ## put the code into its form
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

dev: install ## the graph in a local LangGraph server, for Studio
	@[ -f .env ] || cp .env.example .env
	@# With LangSmith's key alone the server would send traces and its usage; without this second key it sends
	@# neither, and traces only if LANGSMITH_TRACING=true says so, as everywhere else.
	@LANGSMITH_CONTROL_PLANE_API_KEY="$$LANGSMITH_CONTROL_PLANE_API_KEY" LANGGRAPH_CLI_NO_ANALYTICS=1 LANGGRAPH_NO_VERSION_CHECK=true \
	  $(BIN)/langgraph dev --no-browser --n-jobs-per-worker 10 $(DEV)

assistants: install ## the presets fast, thorough and cheap as assistants of that server
	@$(BIN)/swarm-brain assistants

docs: install ## write docs/settings.md, docs/cli.md and .env.example from the code
	@$(BIN)/python docs/generate.py

picture: install ## draw the graph into docs/architecture.md
	@$(BIN)/python docs/picture.py

bench: install ## the figures that the docs state
	@$(BIN)/python -m benchmarks

lock: ## update constraints.txt (needs uv)
	@uv pip compile --universal --all-extras --upgrade --no-annotate --no-header -q pyproject.toml -o constraints.txt
