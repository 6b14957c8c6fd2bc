# Two commands to start with:  make bench  (the laptop suite, training to report)  and  make test.
# Each sets up .venv first, once. Another Python: make PYTHON=python3.12 test.   Fewer cores: make CORES=2 bench.

PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help bench smoke docs test test-faults test-slurm test-tex parity lint clean

help:
	@sed -n '1,2s/^# //p' Makefile
	@echo "Targets: bench smoke docs test test-faults test-slurm test-tex parity lint clean"

bench: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES)
	@echo "The report: reports/laptop/index.html"

smoke: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES) --configfile config/suites/smoke.yaml
	@echo "The report: reports/smoke/index.html"

# The documentation as a site, from the pages in docs/ and the docstrings; a warning is an error.
docs: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky --write-all \
		--conf-dir docs --doctree-dir build/doctrees . build/docs
	@echo "The site: build/docs/index.html"

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Signals at random moments, damaged files and made-up suites by the hundred (about an hour); SEED=1 makes the same again.
test-faults: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED))

# The smoke suite on a real SLURM, with cancelled trainings (about ten minutes; starts a node where none answers: Debian, root).
test-slurm: $(INSTALLED)
	$(BIN)/pip install --quiet snakemake-executor-plugin-slurm
	$(BIN)/python -m tests.slurm

# Tables and figures for papers in an article, set by a real LaTeX (minutes).
test-tex: $(INSTALLED)
	@for program in pdflatex pdffonts; do command -v $$program > /dev/null || { echo "$$program is not here. On Debian:" \
		"apt-get install --no-install-recommends texlive-latex-base texlive-latex-recommended poppler-utils" >&2; exit 1; }; done
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/workflow/test_tex.py

# Every class of Meta-World, step by step beside the official one (about a quarter of an hour).
parity: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.parity

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile config/suites/smoke.yaml
	$(BIN)/codespell

# Caches and logs; results, reports and .venv stay: they are dear, and each is one folder to delete by hand.
clean:
	rm -rf logs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find algorithms benchmarks envs kshot tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "kshot needs Python 3.11 or newer, but $(PYTHON) is: $$($(PYTHON) --version 2>&1)." \
		"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@
