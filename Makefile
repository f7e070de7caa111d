# The two commands are `make run` and `make test`. Everything works from any folder: make -C /path/to/zoetrope run

# One makefile, its path taken whole, so that spaces in it do no harm.
ROOT := $(shell cd "$$(dirname "$$(echo '$(MAKEFILE_LIST)' | sed 's/^ *//')")" && pwd)
IN_ROOT = cd "$(ROOT)" &&
VENV = .venv/bin

.PHONY: help setup setup-test run test test-long storm check format

help:
	@echo "make run        set up and start the studio"
	@echo "make test       set up and run the tests"
	@echo "make setup      only set up (does nothing when nothing changed)"
	@echo "make check      format, lint, types, imports"
	@echo "make format     let ruff format and mend what it can"
	@echo "make test-long  the tests that take minutes each"
	@echo "make storm      a whole studio in a storm of faults (docs/storm.md)"

setup:
	@$(IN_ROOT) sh tools/setup.sh

setup-test:
	@$(IN_ROOT) sh tools/setup.sh --test

run: setup
	@$(IN_ROOT) exec $(VENV)/zoetrope up

# Most tests wait for another process more than they compute: two files at a time, each with servers of its own.
test: setup-test
	@$(IN_ROOT) $(VENV)/pytest -m "not long" -n 2 --dist loadfile --durations=20 $(ARGS)

test-long: setup-test
	@$(IN_ROOT) $(VENV)/pytest -m long $(ARGS)

storm: setup-test
	@$(IN_ROOT) exec $(VENV)/python -m tests.storm.main $(ARGS)

check: setup-test
	@$(IN_ROOT) $(VENV)/ruff format --check .
	@$(IN_ROOT) $(VENV)/ruff check .
	@$(IN_ROOT) $(VENV)/mypy
	@$(IN_ROOT) $(VENV)/pytest -q tests/architecture

format:
	@$(IN_ROOT) $(VENV)/ruff format .
	@$(IN_ROOT) $(VENV)/ruff check --fix .
