# Two commands do all the set-up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint readme docs clean

quickstart: $(VENV)/.installed  ## install, train the quickstart recipe, print the table
	$(BIN)/okdbench run quickstart --jobs 2 --results .quickstart
	$(BIN)/okdbench report quickstart --results .quickstart

test: $(VENV)/.installed-dev  ## install with the dev extra, run the tests
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

readme: $(VENV)/.installed  ## write the generated table and figure of the README again from results/
	$(BIN)/python docs/write_readme_table.py
	$(BIN)/okdbench report quickstart --results results --figures docs/images --figure-format png --output /dev/null --format text
	rm docs/images/quickstart-accuracy-cost.png

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

docs: $(VENV)/.installed-docs  ## build the documentation site: .site/html/index.html
	$(BIN)/python docs/site/build.py

clean:
	rm -rf $(VENV) .quickstart .site .pytest_cache .mypy_cache .ruff_cache
