PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-slow lint types bench accuracy wheel clean

run: $(VENV)/run.stamp ## set up and run the main job: one prediction
	$(BIN)/genz predict llama-3.1-70b --platform "8x h100-sxm" --tp 8 --batch 16 --isl 2048 --osl 256 --precision fp8

test: $(VENV)/test.stamp lint types ## lint, types and the fast tests
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(VENV)/test.stamp ## what takes minutes
	$(BIN)/pytest -n 2 -m slow

lint: $(VENV)/test.stamp
	$(BIN)/ruff check genz tests benchmarks
	$(BIN)/ruff format --check genz tests benchmarks

types: $(VENV)/test.stamp
	$(BIN)/mypy

bench: $(VENV)/test.stamp ## speed of import, command, prediction and sweeps, and other tools beside them
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/side_by_side.py

accuracy: $(VENV)/test.stamp ## docs/accuracy.md anew: make accuracy MEASUREMENTS=folder
	$(BIN)/python benchmarks/accuracy.py $(MEASUREMENTS)

wheel: $(VENV)/test.stamp
	$(BIN)/python -m build --wheel

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/run.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
