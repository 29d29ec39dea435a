PYTHON ?= python3
BIN := .venv/bin
# Processes that run the tests. Each holds a network or two in memory, so not one for every core.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores : 8)))
SITE := docs/_build/html
PYTEST := $(BIN)/pytest --numprocesses $(JOBS)

# Workers and the commands that tests start share compiled modules instead of compiling them again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo lint check test test-all bench docs reproduce

# A page about the embedded default network, by the command that a user would type.
demo: .venv/.demo
	$(BIN)/convlens report --out convlens-report --overwrite

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Before a commit, in less than a minute: linter, types, and quick tests of the core.
check: lint
	$(PYTEST) -m "not slow" tests/test_*.py tests/capture tests/drawing tests/html \
		tests/tracing/test_trac*.py tests/tracing/receptive_field tests/models/test_model.py \
		--deselect tests/test_default_dtype.py --deselect tests/test_order_of_calls.py \
		--deselect tests/tracing/receptive_field/test_fields_blind.py

# Everything that a change must pass, within five minutes on two cores.
test: lint
	$(PYTEST) -m "not slow"

# The long tests too: fuzzing, statistics, killed workers, the default page in a browser. The scripts
# of the gallery run when the site is built.
test-all: lint docs
	$(PYTEST)

# The benchmarks, or some of them: make bench ONLY="gradcam fgsm". Their results are written to
# docs/benchmarks.md. Trainings, `scale` and `engine` run only when they are named.
bench: .venv/.bench
	$(BIN)/python -m benchmarks --write-document $(ONLY)

# Published figures beside ours, or some of them: make reproduce ONLY="receptive Grad-CAM"
reproduce: .venv/.test
	$(BIN)/python -m benchmarks.reproductions $(ONLY)

# The documentation site. Scripts of its gallery that have not changed do not run again, even if the
# code has; without docs/chapter and docs/at_work all of them run.
docs: .venv/.docs
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs $(SITE)
	@echo "$(abspath $(SITE))/index.html"

.venv/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
