# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo models test lint types layers unit wheel clean

demo: .venv/.demo
	$(BIN)/rtfeedback demo

# The tables of docs/models.md, in an hour on two quiet cores; with `ARGS=--quick`, in minutes.
models: .venv/.demo
	$(BIN)/python -m bench.models --write $(ARGS)
	$(BIN)/python -m bench.models --regions --write $(ARGS)

test: lint types layers unit wheel

lint: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.test
	$(BIN)/mypy

layers: .venv/.test
	$(BIN)/lint-imports

unit: .venv/.test
	$(BIN)/pytest -m 'not alone' --numprocesses 2 --dist loadfile
	$(BIN)/pytest -m alone

# What a user installs must be whole: the built wheel alone, in a venv of its own.
wheel: .venv/.test
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel
	$(PYTHON) -m venv --clear build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/rtfeedback --help
	cd build/wheel && venv/bin/python -c "import rtfeedback.online.daemon"
	cd build/wheel && venv/bin/rtfeedback simulate out 2>&1 | grep -F 'rtfeedback[offline]'

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[offline]'
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[offline,dev]'
	touch $@ .venv/.demo

.venv/bin/python:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
