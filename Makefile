# make env | test | test-fast | docs | demo | demo-train | picture | lint | fuzz | kills | lock | clean, each with the set-up that it needs.
#
#   PYTHON=python3.12   the interpreter that .venv is made with (3.10 to 3.13)
#   VENV=path           another place for the virtual environment

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env test test-fast docs demo demo-train picture lint lock clean fuzz kills

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile

env: $(STAMP)

# The stamp is written last: a killed set-up is taken up again by the next call.
$(STAMP): requirements.lock requirements-detectron2.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null || { \
		echo 'error: $(PYTHON) is not Python 3.10 to 3.13: choose one with `make $(or $(MAKECMDGOALS),env) PYTHON=python3.12`.' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'error: $(PYTHON) has no venv module: install it first (Debian and Ubuntu: apt-get install python3-venv).' >&2; exit 2; }
	@test "$$(uname -s)" = Linux || { \
		echo 'error: requirements.lock is for Linux: elsewhere install torch and detectron2, then `pip install -e ".[train,dev]"`.' >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'make env: the locked packages go into $(VENV) (about 3 GB to download, minutes)'
	@# Build tools first: the packages that come as source are then built by locked versions.
	@sed -n '/^\(packaging\|pip\|setuptools\|wheel\)==/,/^    # via/p' requirements.lock > $(VENV)/build-tools.lock
	@$(PIP) install --require-hashes --no-deps --requirement $(VENV)/build-tools.lock
	@$(PIP) install --require-hashes --no-deps --no-build-isolation --requirement requirements.lock
	@# The wheel's tag says Python 3.10 on x86-64; nothing compiled in it is used (see requirements-detectron2.lock).
	@$(PIP) install --require-hashes --no-deps --upgrade --only-binary=:all: --python-version 3.10 \
		--implementation cp --abi cp310 --platform linux_x86_64 \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		--requirement requirements-detectron2.lock
	@# Its compiled file was built for another torch: away, so that every Python behaves alike.
	@rm -f $(VENV)/lib/python3*/site-packages/detectron2/_C.*.so
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# A process a core of the smallest machine that is tested, a file of tests in one of them, and a thread each.
test: lint
	$(TESTS) --without-torch
	$(TESTS) -m torch

test-fast: lint
	$(TESTS) --without-torch

# The site, from the pages, the code and the tables of measurements.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo 'make docs: open output/site/index.html'

demo: env
	$(BIN)/python tools/demo.py --output output/demo

# The same with a model that learns first.
demo-train: env
	$(BIN)/python tools/demo.py --output output/demo-train --train configs/sample_xbd.yaml

# The picture of README.md: the page of the demo's scene, in chromium.
picture: demo
	$(BIN)/python docs/picture.py

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# 10,000 damaged inputs through every torch-free step; `make test` runs 120.
fuzz: env
	SKYEYE_FUZZ=10000 $(BIN)/python -m pytest --without-torch tests/robustness/test_damaged_input.py

# 50 conversions and scorings ended by SIGKILL or SIGTERM at random moments, and 30 assessments, each run again.
kills: env
	SKYEYE_KILLS=50 $(BIN)/python -m pytest --without-torch tests/robustness/test_kills.py
	SKYEYE_KILLS=30 $(BIN)/python -m pytest tests/robustness/test_assess_kills.py

# Keeps the locked versions where they still fit; `make lock UPGRADE=--upgrade` takes the newest.
lock: env
	$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.10 --no-emit-index-url \
		--custom-compile-command 'make lock' --extra train --extra dev $(UPGRADE) \
		requirements.in setup.py --output-file requirements.lock

clean:
	rm -rf $(VENV) output .pytest_cache .ruff_cache .mypy_cache .hypothesis skyeye_det.egg-info
