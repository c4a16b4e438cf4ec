# make setup   environment in .venv with the tested versions (constraints.txt)
# make demo    installs, then runs the main job: minutes on two cores
# make test    installs, then runs the tests that a change must pass at once: 8 minutes on two cores
# make test-long  those that take a cluster, or many seconds each;   make test-all  every test, the slow ones too
# make worlds  installs, then carries 100,000 simulated searches out and reads 10,000 damaged files: 12 minutes on two cores
# make check   formatting, lint, types, and the documentation built strictly
# make docs    the documentation as a site, in site/
# make bench   every benchmark at its full size: hours
# make studies the papers' studies at their full size: a day and more, resumable; SIZE=quick in minutes
# make dataset Fashion-MNIST, from Debian's package, where this is Debian and the user is root

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# how many tests run beside each other
JOBS ?= 3
N_WORLDS ?= 100000
N_FUZZ ?= 10000
# a GPU machine chooses its build of PyTorch here, e.g. make setup TORCH="torch --index-url ..."; see README
TORCH ?= $(shell grep '^torch==' constraints.txt)

.PHONY: setup demo test test-long test-all worlds check docs bench bench-peers dataset studies clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,baselines,cluster,docs,server]"
	touch $@

demo: setup
	$(BIN)/raysearch plan search_spaces/demo.yaml
	$(BIN)/raysearch run search_spaces/demo.yaml

# beside each other, as much of their time is waiting; those with a Ray cluster take turns (tests/kinds.py)
PYTEST = $(BIN)/pytest --numprocesses=$(JOBS) --dist=loadgroup --no-loadscope-reorder

test: setup
	$(PYTEST) -m "not long and not slow"

test-long: setup
	$(PYTEST) -m "long and not slow"

test-all: setup
	$(PYTEST)

worlds: setup
	$(BIN)/python -m tests.world --n $(N_WORLDS) --workers 2
	$(BIN)/python -m tests.fuzz --n $(N_FUZZ)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) docs

# the variable silences a notice about MkDocs 2, which constraints.txt does not take; --quiet would hide what is strict
# npm, where it is there, brings what lets the site's search work without a server
docs: setup
	npm install --no-save --no-package-lock --silent --fetch-retries=1 --fetch-timeout=20000 iframe-worker@1.0.4 || echo "the site's search will need a server"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

bench: setup
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/race_speed.py
	$(BIN)/python benchmarks/ideal_time.py
	$(BIN)/python benchmarks/calorimeter.py
	$(BIN)/python benchmarks/selection.py
	$(BIN)/python benchmarks/methods.py

dataset:
	@test -d /usr/share/datasets/fashion-mnist || \
	  { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq --no-install-recommends dataset-fashion-mnist; } || \
	  echo "no Fashion-MNIST: apt install dataset-fashion-mnist, or set workload.folder to where its IDX files are"

SIZE ?= full
studies: setup dataset
	$(BIN)/python benchmarks/studies/all.py --size $(SIZE)

# SMAC3 and Syne Tune, for benchmarks/selection.py --peers-python .venv-peers/bin/python
bench-peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet smac==2.4.1 syne-tune==0.16.0 ConfigSpace==1.2.2
	.venv-peers/bin/pip install --quiet --no-deps --target .venv-peers/pasha syne-tune==0.14.2

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
