# Sugar over scripts/setup.py, which runs everywhere Python does (on Windows: py scripts/setup.py lab).
PYTHON ?= python3
export TORCH_INDEX

.PHONY: help lab test test-all student site slides install doctor format clean

help:
	@echo "make lab      install, check this machine, open JupyterLab on the first notebook"
	@echo "make test     install, then lint, tests and notebooks, on built-in motion"
	@echo "make test-all install, then what takes longer or needs more: recorded motion, a browser"
	@echo "make site     install, then notebooks, guides and API reference as a site, in build/site"
	@echo "make slides   install, then a slide deck for each notebook, in build/slides"
	@echo "make student  install, then the folder for a class, without outputs and answers, in build/student"
	@echo "make doctor   say what works here and how to fix what does not"
	@echo "make format   let ruff mend style and formatting"
	@echo "make clean    remove .venv and the tools' caches"
	@echo "CPU-only or CUDA build of torch: TORCH_INDEX=... (see README.md)"

lab:
	@$(PYTHON) scripts/setup.py lab

test:
	@$(PYTHON) scripts/setup.py test

test-all:
	@$(PYTHON) scripts/setup.py test-all

site:
	@$(PYTHON) scripts/setup.py site

slides:
	@$(PYTHON) scripts/setup.py slides

student:
	@$(PYTHON) scripts/setup.py student

install:
	@$(PYTHON) scripts/setup.py

doctor: install
	@.venv/bin/python -m mocap3d doctor

format: install
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
