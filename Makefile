# make demo | test | check | clean: all work in one virtual environment, .venv, which they create and update themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PRODUCT := curation graph captioning model jobs
CHECKED := $(PRODUCT) tests benchmarks
# Processes that run tests side by side; tests/conftest.py says how they share them. Each may take 3 GB.
TEST_WORKERS ?= 2

# One thread per process: Ray starts one worker per core, and more threads only fight each other.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0
# Every weight of the demo and the tests comes inside a package; nothing may be downloaded.
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint clean

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create or update .venv with the versions of constraints.txt

# The stamp is written last, so an interrupted installation starts again, and a finished one takes no time.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED) demo-data runs/demo-kb ## run every stage on the demo collection: shards, a trained model, samples, a report
	@$(BIN)/imageloom run examples/demo.yaml || $(ANEW)

# A folder of about 2,500 images, made from installed packages; it appears only when it is complete.
demo-data: | $(INSTALLED)
	$(BIN)/imageloom demo-data demo-data

# The demo's encyclopedia as a knowledge base; a build that was interrupted continues.
runs/demo-kb: demo-data | $(INSTALLED)
	@$(BIN)/imageloom knowledge build --dump demo-data/wiki.xml --out runs/demo-kb || $(ANEW)
	touch runs/demo-kb

# What an older version made is never overwritten: exit codes 3 (it had no wiki.xml) and 5 (stale stages).
ANEW = { code=$$?; case $$code in 3|5) echo "make: left by an older version? 'make clean demo' begins anew";; esac; exit $$code; }

test: $(INSTALLED) ## run all tests
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --durations 15 --durations-min 1

lint: $(INSTALLED) ## format check, lint, types, spelling
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/codespell

check: lint test ## everything that continuous integration asks for

clean: ## remove the demo collection, its run and all caches, but not .venv
	rm -rf demo-data demo-data.partial runs/demo runs/demo-kb .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +
