PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench

# A page about the embedded default network, made by the command that a user would type.
demo: .venv/.demo
	$(BIN)/convlens report --out convlens-report

test: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# All benchmarks, or some of them: make bench ONLY="gradcam fgsm"
bench: .venv/.bench
	$(BIN)/python -m benchmarks $(ONLY)

.venv/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
