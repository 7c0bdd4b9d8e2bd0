# Two commands do all the set-up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-all lint published reliability pictures docs clean

quickstart: $(VENV)/.installed  ## install, train the quickstart recipe, print the table
	$(BIN)/okdbench run quickstart --jobs 2 --jobs-per-device 6 --results .quickstart
	$(BIN)/okdbench report quickstart --results .quickstart

test: $(VENV)/.installed-dev  ## install with the dev extra, run the tests
	$(BIN)/python -m pytest -n 2

test-all: $(VENV)/.installed-all .tools/node_modules/axe-core .tools/mermaid.min.js .tools/slurm.log .tools/nfs.log  ## also the slow tests, in random order; with a browser where there is one
	$(BIN)/python -m pytest -n 2 -m "" --random-order

# Debian's Chromium if this is root on Debian, and axe-core if there is npm; without them the tests of the page skip.
.tools/node_modules/axe-core:
	mkdir -p .tools
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromium >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium || true; fi
	if command -v npm >/dev/null; then npm install --silent --no-save --prefix .tools axe-core@4 || true; fi

# Slurm and munge, and an NFS server with machines that use it, likewise; what is said here says why their tests skip.
.tools/%.log: tests/services/%.sh
	mkdir -p .tools
	bash $< install > $@ 2>&1 || cat $@

lint: $(VENV)/.installed-dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

reliability: $(VENV)/.installed  ## write the tables of docs/reliability.md again from the tests
	$(BIN)/python docs/write_reliability.py

published: $(VENV)/.installed  ## write the generated tables and figures of the documentation again from results/
	$(BIN)/python docs/write_published.py

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

$(VENV)/.installed-all: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,export,timm,tensorboard,mlflow,ray,slurm]"
	touch $@

pictures: $(VENV)/.installed-dev  ## the pictures of the program in the documentation, from results/; needs Chromium
	$(BIN)/python docs/make_pictures.py

# The drawings of the site are drawn by this script, of the major version that the site's theme expects.
.tools/mermaid.min.js:
	mkdir -p .tools
	if command -v npm >/dev/null; then cd .tools && npm pack --silent mermaid@12 >/dev/null && \
	  tar -xzOf mermaid-12*.tgz package/dist/mermaid.min.js > mermaid.min.js.tmp && \
	  mv mermaid.min.js.tmp mermaid.min.js && rm mermaid-12*.tgz; fi

docs: $(VENV)/.installed-docs .tools/mermaid.min.js  ## build the documentation site: .site/html/index.html
	$(BIN)/python docs/site/build.py

clean:
	rm -rf $(VENV) .quickstart .site .tools .pytest_cache .mypy_cache .ruff_cache
