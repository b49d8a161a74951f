# `make demo` and `make test` need Python 3.11 or newer with pip, nothing else.
PYTHON ?= python3
PYTHONS ?= 3.11 3.12
BIN = .venv/bin
# index of torch's wheels, for example https://download.pytorch.org/whl/cpu; empty: pip's own
TORCH_INDEX ?=
# workers take about 600 MB each
PARALLEL = -n logical --maxprocesses 8 --dist worksteal
# slow tests often wait for processes of their own: three workers use two cores better than two
SLOW_WORKERS = $(shell $(PYTHON) -c "import os; print(min(8, os.cpu_count() * 3 // 2))")

.PHONY: demo test test-slow stress test-versions lint links types imports docs wheel bench setup clean

demo: $(BIN)/.ready
	@echo "demo: synthetic people -> raw files -> store -> training -> evaluation -> occlusion bench"
	$(BIN)/aclnet demo demo

test: $(BIN)/.ready
	@echo "test: the whole suite but for what is marked slow, a process a core"
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(BIN)/.ready .venv/lightning
	@echo "test-slow: what is marked slow"
	$(BIN)/python -m pytest -n $(SLOW_WORKERS) --dist worksteal -m slow

stress: $(BIN)/.ready
	@echo "stress: docs/reliability.md, some two hours on two cores"
	$(BIN)/python -m tests.stress

test-versions:
	@echo "test-versions: lowest and newest dependencies, for each of PYTHONS; needs uv"
	tools/test_versions.sh $(PYTHONS)

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	! test -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

links: $(BIN)/.ready
	$(BIN)/python tools/typing_links.py

types: links
	MYPYPATH=.typing $(BIN)/mypy -p aclnet

imports: $(BIN)/.ready
	$(BIN)/python tools/imports.py

docs: $(BIN)/.docs links
	@echo "docs: the site of docs/, in site/; a warning is an error"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: $(BIN)/.ready
	.ci/wheel

bench: $(BIN)/.ready
	@echo "bench: docs/performance.md, some ten minutes on a machine that does nothing else"
	$(BIN)/python benchmarks/run.py $(if $(ACLNET_REAL_DATA),--real $(ACLNET_REAL_DATA))

setup: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml constraints.txt
	@echo "setup: a virtual environment in .venv with aclnet and its tools (some minutes)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --no-compile --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --no-compile --quiet --constraint constraints.txt --editable '.[dev]'
	@# pip would compile 19,000 modules on one core, in 90 s; some cannot be compiled, as for pip
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

# One test needs pytorch-lightning. It has a folder of its own, because it needs torchmetrics: each
# process that trains would import that too, which takes seconds.
.venv/lightning: $(BIN)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --upgrade --target $@ pytorch-lightning torchmetrics
	@touch $@

$(BIN)/.docs: $(BIN)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv .typing build dist demo site *.egg-info
