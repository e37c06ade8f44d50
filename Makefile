# sqgen: everything from nothing. PYTHON chooses the interpreter, PIP_ARGS goes to pip.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.sqgen-dev

.DEFAULT_GOAL := help
.PHONY: help setup test lint models schema templates bench wheel clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with sqgen and its development tools in it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

test: $(STAMP) ## run the tests (sets everything up first); ARGS= goes to pytest
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(STAMP) ## ruff check, ruff format and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy wants the package's name as its folder's, whatever this clone is called.
	@mkdir -p $(VENV)/lint && ln -sfn "$(CURDIR)" $(VENV)/lint/sqgen
	cd $(VENV)/lint && ../bin/mypy --config-file sqgen/pyproject.toml -p sqgen

models: $(STAMP) ## write the files of models/ again from the presets
	$(BIN)/python -m sqgen.tools.write_models

schema: $(STAMP) ## compile formats/caffe.proto into formats/caffe.desc
	$(BIN)/python -m sqgen.formats.compile_schema

templates: $(STAMP) ## compile templates/*.j2 into templates/compiled/
	$(BIN)/python -m sqgen.templates.compile_templates

bench: $(STAMP) ## measure speed as ratios (benchmarks/)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/designs.py
	$(BIN)/python benchmarks/log.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) onnx onnxruntime
	$(BIN)/python benchmarks/engine.py

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
