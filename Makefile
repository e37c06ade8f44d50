# PYTHON selects the interpreter, PIP_ARGS goes to pip.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.sqgen-dev
DIGITS := build/digits
DIGITS_NET := models/digits

.DEFAULT_GOAL := help
.PHONY: help setup test-accuracy test test-gpu fuzz lint models train-digits schema templates bench wheel clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with sqgen and its development tools in it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

test: $(STAMP) ## run the tests (sets everything up first); ARGS= goes to pytest
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-gpu: $(STAMP) ## run the tests that need a GPU
	$(BIN)/python -m pytest -m cuda -v $(ARGS)

fuzz: $(STAMP) ## run commands on damaged files; ARGS="--seconds 600", "--kills 50", "--help"
	$(BIN)/python -m sqgen.tests.fuzz $(ARGS)

lint: $(STAMP) ## ruff check, ruff format and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy wants the package's name as its folder's, whatever this clone is called.
	@mkdir -p $(VENV)/lint && ln -sfn "$(CURDIR)" $(VENV)/lint/sqgen
	cd $(VENV)/lint && ../bin/mypy --config-file sqgen/pyproject.toml -p sqgen

models: $(STAMP) ## write the files of models/ from the presets
	$(BIN)/python -m sqgen.models.write_models

$(DIGITS)/test_lmdb/data.mdb: $(STAMP)
	$(BIN)/sqgen data digits -o $(DIGITS) --force

# Without MODEL, test the digits net in models/. A tolerance of 0.004 is one of its 297 images.
test-accuracy: $(STAMP) $(if $(MODEL),,$(DIGITS)/test_lmdb/data.mdb) ## test weights, check their accuracy
ifdef MODEL
	$(if $(WEIGHTS),,$(error test-accuracy: MODEL= needs WEIGHTS=))
	$(BIN)/sqgen test --model "$(MODEL)" --weights "$(WEIGHTS)" \
		$(if $(DATA),--data "$(DATA)") $(if $(GPU),--gpu "$(GPU)") \
		$(if $(ENGINE),--engine "$(ENGINE)") $(foreach score,$(EXPECT),--expect "$(score)")
else
	$(if $(WEIGHTS)$(DATA),$(error test-accuracy: WEIGHTS= and DATA= need MODEL=))
	$(BIN)/sqgen build --design $(DIGITS_NET)/design.toml --out $(DIGITS) --force
	$(BIN)/sqgen test --model $(DIGITS)/train_val.prototxt --weights $(DIGITS_NET)/digits.caffemodel \
		--data $(DIGITS)/test_lmdb $(if $(GPU),--gpu "$(GPU)") \
		$(if $(ENGINE),--engine "$(ENGINE)") $(foreach score,$(EXPECT),--expect "$(score)") \
		--baseline $(DIGITS_NET)/accuracy.json --within 0.004
endif

# Two threads on every machine, because rounding of gradients depends on their number. The new weights
# replace the old only if they reach top1=0.97; the baseline records their scores.
train-digits: $(DIGITS)/test_lmdb/data.mdb ## train the weights of models/digits/
	$(BIN)/sqgen build --design $(DIGITS_NET)/design.toml --out $(DIGITS) --force
	$(BIN)/sqgen train --solver $(DIGITS)/solver.prototxt --engine torch \
		--data $(DIGITS)/train_lmdb --val-data $(DIGITS)/test_lmdb -- --threads 2
	$(BIN)/sqgen test --model $(DIGITS)/train_val.prototxt --engine torch \
		--weights $(DIGITS)/digits_iter_1500.caffemodel --data $(DIGITS)/test_lmdb \
		--min top1=0.97 --baseline $(DIGITS_NET)/accuracy.json --update-baseline
	cp $(DIGITS)/digits_iter_1500.caffemodel $(DIGITS_NET)/digits.caffemodel

schema: $(STAMP) ## compile formats/caffe.proto into caffe.desc and schema.pyi
	$(BIN)/python -m sqgen.formats.compile_schema

templates: $(STAMP) ## compile templates/*.j2 into templates/compiled/
	$(BIN)/python -m sqgen.templates.compile_templates

bench: $(STAMP) ## measure speed as ratios (benchmarks/)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/designs.py
	$(BIN)/python benchmarks/log.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/compress.py
	$(BIN)/python benchmarks/constraints.py
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) onnx onnxruntime
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/distributed.py

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove .venv and all build products
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
