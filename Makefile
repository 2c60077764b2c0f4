# What a person and CI call. Everything runs from .venv, which `make venv` builds.
PY := .venv/bin/python
SHELL := /bin/bash

.PHONY: venv lint test demo bench docs links

venv: .venv/.installed

.venv/.installed: pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: venv
	$(PY) -m pytest -n 2 --dist loadfile tests

demo: venv
	.venv/bin/synerdiff demo

bench: venv
	$(PY) -m benchmarks.fleet

docs: venv
	$(PY) -m tools.api_reference

links: venv
	$(PY) -m tools.external_links
