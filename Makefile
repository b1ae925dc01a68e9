# Everything a developer or CI runs. `make help` lists it.
#
#   VENV=folder     the virtual environment to use or make (default .venv)
#   PYTHON=python3  what a new environment is made with
#   PYTEST_ARGS=…   handed to every pytest, for example PYTEST_ARGS='-k store -x'
#   WORKERS=4       processes that share the tests, which mostly wait; 0 for none
#   BROWSERS=3      browsers that share the tests of the page

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
WORKERS ?= 4
BROWSERS ?= 3

BIN := $(VENV)/bin
PY := $(BIN)/python
# jupyter-builder, which npm's scripts call, is one of the environment's programs.
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

DEMO := example_notebooks/quickstart.ipynb
DEMO_HOME := $(abspath build/demo-home)
EXTRAS := $(abspath build/extras)
# By file, and in the order of tests/conftest.py: the longest first.
SHARED := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Where real networks are cut and machines are short of time, a failure is looked at twice. The summary
# lists each test that needed it, so that it is mended rather than forgotten.
TWICE := --reruns 1 -r aR
NOTEBOOK_TESTS := $(wildcard tests/notebooks/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo lab test check integration fix clean coverage screenshots \
	check-style check-types check-tests check-frontend frontend system extras

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up: stamp files in the environment, so that a second run does nothing -----------------

setup: $(VENV)/.aiinfra-installed frontend ## Make the environment: Python packages, Node packages, front end

$(PY):
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tools/system-packages.sh python3-venv
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: which build of it is right is the machine's affair, so one that is
# there already stays.
$(VENV)/.aiinfra-torch: | $(PY)
	@$(PY) -c 'import torch' 2>/dev/null || { \
	  echo "installing torch (minutes, once)" && $(PY) -m pip install --quiet -c constraints.txt torch; }
	@touch $@

# Editable, so that every test is a test of this checkout; tests/integration/test_wheel.py looks at
# what users get.
$(VENV)/.aiinfra-installed: pyproject.toml constraints.txt $(VENV)/.aiinfra-torch
	@echo "installing jupyter_aiinfra with what its tests need (minutes, once)"
	$(PY) -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

# Knows itself when there is nothing to do.
frontend: $(VENV)/.aiinfra-installed
	@$(PY) build_frontend.py
	@$(PY) build_frontend.py --install

# Debian keeps the server's programs off the PATH. The browser is the distribution's own:
# `playwright install` would fetch another.
system:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  sh tools/system-packages.sh postgresql
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  sh tools/system-packages.sh chromium
	@command -v gcc >/dev/null || command -v cc >/dev/null || \
	  sh tools/system-packages.sh gcc libc6-dev
	@PATH="$$PATH:/usr/sbin:/sbin"; command -v sshd >/dev/null && command -v ssh >/dev/null && \
	  command -v ip >/dev/null && command -v nft >/dev/null && command -v csh >/dev/null || \
	  sh tools/system-packages.sh openssh-server openssh-client iproute2 nftables tcsh
	@command -v crontab >/dev/null || sh tools/system-packages.sh cron

# --- the main jobs -----------------------------------------------------------------------------

demo: $(VENV)/.aiinfra-installed frontend ## Run the quickstart on a local pool with papermill: train, serve, replace
	@mkdir -p build $(DEMO_HOME)
	@echo "running $(DEMO) on a local pool; the result will be build/quickstart.ipynb"
	@JUPYTER_AIINFRA_HOME=$(DEMO_HOME) \
	  $(PY) -m papermill --kernel python3 --cwd build --log-output --no-progress-bar \
	  $(DEMO) build/quickstart.ipynb

lab: $(VENV)/.aiinfra-installed frontend ## Open JupyterLab on the example notebooks
	$(PY) -m jupyter lab --ServerApp.root_dir=example_notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

# --- tests -------------------------------------------------------------------------------------

test: check integration ## Everything: what CI runs

check: check-style check-types check-tests check-frontend ## The fast half: style, types, layers, tests without real programs

check-style: $(VENV)/.aiinfra-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

check-types: $(VENV)/.aiinfra-installed
	$(BIN)/mypy

# Two processes: pytest-jupyter's event loop and pytest-asyncio's do not share one.
check-tests: $(VENV)/.aiinfra-installed
	$(PY) -m pytest -q $(SHARED) $(TWICE) $(PYTEST_ARGS)
	$(PY) -m pytest -q $(SHARED) $(TWICE) tests/server $(PYTEST_ARGS)

check-frontend: frontend
	npm run --silent typecheck
	npm run --silent lint
	npm run --silent test -- --retry=1

# Not in the environment itself: an older kernel beside the newer one, and what changes JupyterLab.
extras: $(EXTRAS)/.installed

$(EXTRAS)/.installed: $(VENV)/.aiinfra-installed
	@echo "installing what only some tests need into $(EXTRAS)"
	@rm -rf $(EXTRAS)
	$(PY) -m pip install --quiet --no-deps --target $(EXTRAS)/ipykernel6 'ipykernel<7'
	$(PY) -m pip install --quiet -c constraints.txt --prefix $(EXTRAS)/collaboration \
	  jupyter-collaboration
	@touch $@

integration: setup system extras ## The other half: real processes, databases, notebooks and packages
	$(PY) -m pytest -q $(SHARED) $(TWICE) --timeout 300 tests/integration $(NOTEBOOK_TESTS) $(PYTEST_ARGS)
	$(PY) -m pytest -q -n $(BROWSERS) --dist worksteal $(TWICE) tests/browser $(PYTEST_ARGS)

screenshots: setup system ## Take the pictures of the documentation, from the real thing
	$(PY) -m scripts.screenshots

coverage: $(VENV)/.aiinfra-installed ## Which lines and branches the fast tests do not reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage run -m pytest -q tests/server
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# --- housekeeping ------------------------------------------------------------------------------

fix: setup ## Format and mend what can be mended without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npm run --silent lint:fix

clean: ## Remove what was built; the environment and node_modules stay
	rm -rf build dist lib htmlcov .coverage .coverage.* \
	  .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
	  jupyter_aiinfra/labextension jupyter_aiinfra/widgets/static jupyter_aiinfra/_version.py
	find jupyter_aiinfra tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
