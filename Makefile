# Everything sets itself up: each target below creates .venv on a fresh machine (Python >= 3.11 and make are enough).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST_ARGS ?=

.PHONY: help demo test fuzz soak versions audit coverage mutants check format lint types bench docs clean
help:    ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

# Two stamps, so that the demo does not wait for what only the tests need.
$(VENV)/.train: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train]"
	@touch $@
$(VENV)/.dev: $(VENV)/.train
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,dask,export]" --group test --group check --group docs
	@# cityscapesScripts judges our figures; of what it asks for it needs no more than this
	@$(BIN)/python -m pip install --quiet --no-deps cityscapesscripts pyquaternion
	@touch $@

demo: $(VENV)/.train  ## run the whole chain on synthetic scenes, into ./demo
	$(BIN)/segdata demo demo

# Two at a time, on any machine: many of the tests start processes of their own. PYTEST_ARGS="-n 0 --pdb" for one.
test: $(VENV)/.dev   ## run the tests (PYTEST_ARGS="-k name" for some)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

fuzz: $(VENV)/.dev   ## give every reader damaged files for SECONDS=60
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

soak: $(VENV)/.dev  ## 20,000 labels and a training run, killed again and again, against straight ones
	$(BIN)/python -m tests.soak

versions: $(VENV)/.dev  ## install with other Pythons and the oldest libraries, and run the data commands
	$(BIN)/python -m tests.versions

# Libraries that the service does not know, or a missing network, are no fault; a known vulnerability is.
audit: $(VENV)/.dev  ## look up known vulnerabilities of the installed libraries
	@mkdir -p build
	@$(BIN)/pip-audit --local --skip-editable --progress-spinner off > build/audit.txt 2>&1; grep -E 'known vulnerabilit' build/audit.txt || true
	@printf '%s libraries could not be looked up\n' "$$(grep -c 'could not be audited' build/audit.txt)"
	@! grep -E '^Found [0-9]+ known vulnerabilit' build/audit.txt

ROOMS = labels codecs cpp sampling batch losses
# The second run has the kernels as plain Python, on tests that give them small inputs; statistics of many draws are left out.
KERNEL_TESTS = tests/cpp/test_pooling.py tests/cpp/test_sparse.py tests/cpp/test_scaling.py tests/cpp/test_store.py \
    tests/codecs/test_png.py tests/codecs/test_png_filters.py tests/codecs/test_photos.py tests/codecs/test_jpeg_rows.py \
    tests/codecs/test_png_photo_filters.py tests/labels/test_remap.py \
    tests/sampling/test_scan.py tests/sampling/test_shares.py tests/sampling/test_uniforms.py
TOO_SLOW = every_prefix_is_within or equally_often or as_often_as_its_share or real_photographs or real_labels
coverage: $(VENV)/.dev  ## every branch of the rooms that determine numbers is taken by a test
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(foreach room,$(ROOMS) jobs layouts,$(wildcard tests/$(room) segdata/$(room)))
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest -n 2 --dist worksteal -W ignore::RuntimeWarning -k "not ($(TOO_SLOW))" $(KERNEL_TESTS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutants: $(VENV)/.dev  ## change lines of those rooms, a sample of SAMPLE=200, and count what no test notices
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group mutants
	@test -f build/coverage/data || $(MAKE) coverage
	$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),200)

check: lint types audit test coverage  ## what must be green before a commit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff format and fix what it can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

# The real labels are measured where SEGDATA_REAL_DATA names them, synthetic scenes where not.
VISTAS = $(if $(SEGDATA_REAL_DATA),$(SEGDATA_REAL_DATA)/vistas/sample-v1.2)
bench: $(VENV)/.dev  ## measure the headline figures against their peers (see benchmarks/RESULTS.md)
	$(BIN)/python benchmarks/convert.py $(VISTAS)
	$(BIN)/python benchmarks/cpp.py
	$(BIN)/python benchmarks/cpp_tensors.py
	$(BIN)/python benchmarks/sampling.py $(VISTAS)
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/model_memory.py

docs: $(VENV)/.dev   ## write the pages that are made from the code, and build the site into build/site
	$(BIN)/python docs/write_reference.py
	$(BIN)/python docs/write_results.py
	$(BIN)/python docs/write_quickstart.py
	$(BIN)/python docs/draw_cpp.py
	$(BIN)/python docs/draw_seethroughnet.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:   ## remove the environment, caches and demo output
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
