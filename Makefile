# `make demo` and `make test` work on a fresh machine with Python 3.11 or later; everything else is convenience.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= build/demo
EPOCHS ?= 20

.PHONY: demo test fast lint format clean

demo: $(VENV)/.installed
	@rm -rf $(OUT) && mkdir -p $(OUT)
	$(BIN)/netdsl check specs/*.net
	$(BIN)/netdsl summary specs/lenet.net
	$(BIN)/netdsl graph specs/lenet.net -o $(OUT)/lenet.svg
	$(BIN)/netdsl compile specs/lenet.net --to onnx -o $(OUT)/lenet.onnx
	$(BIN)/netdsl train specs/lenet.net --data "Digits(size = 28)" --epochs $(EPOCHS) --out $(OUT)/run
	$(BIN)/netdsl eval specs/lenet.net --data "Digits(size = 28)" --weights $(OUT)/run/best.safetensors
	$(BIN)/python -c "from netdsl.train.data.digits import write_images; write_images('$(OUT)/digits', 5)"
	$(BIN)/netdsl predict specs/lenet.net --weights $(OUT)/run/best.safetensors $(OUT)/digits/*.png
	@echo "the diagram, the ONNX model and the run are in $(OUT)"

test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

# What to run while working: everything that takes no more than a few seconds.
fast: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow" -n auto $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/netdsl fmt specs/*.net

# The stamp is older than either file after a change to it, and then the installation is brought up to date.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m compileall -q netdsl
	@touch $@

clean:
	rm -rf build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
