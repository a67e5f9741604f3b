# `make run` and `make test` need Python 3.11+, git and make; everything else is put into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin

# Python compiles modules when it first imports them; without that every start is two to four times
# slower.
unexport PYTHONDONTWRITEBYTECODE
# Disable telemetry.
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# DVC runs the stages with the `python` on the path.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

.PHONY: run
run: $(VENV)/.core ## run the pipeline: semigen run (ARGS="-S key=value --force ...")
	@semigen run $(ARGS)

.PHONY: repro
repro: $(VENV)/.core ## run the pipeline with DVC alone: semigen repro
	@semigen repro $(ARGS)

.PHONY: ui
ui: $(VENV)/.core ## start server, UI, workers and schedules: semigen up (PORT=4200)
	@semigen up $(if $(PORT),--port $(PORT))

.PHONY: ui-stop
ui-stop: $(VENV)/.core ## stop them: semigen down
	@semigen down

# One process for each core; the tests of a file share their fixtures.
PYTEST = python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: test
test: $(VENV)/.dev ## run the fast tests (ARGS="tests/flows -k name ...")
	@$(PYTEST) $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.dev ## run the tests that take more than five seconds each
	@$(PYTEST) -m slow $(ARGS)

.PHONY: test-all
test-all: test test-slow ## run all tests

.PHONY: lint
lint: $(VENV)/.dev ## run ruff and mypy
	@ruff check .
	@ruff format --check .
	@mypy

.PHONY: licenses
licenses: $(VENV)/.dev ## list the licenses of all packages, build/licenses.md; fail if one is not allowed
	@python -m tools.licenses --output build/licenses.md

.PHONY: audit
audit: $(VENV)/.dev ## look for known vulnerabilities (ARGS="deploy/requirements.txt")
	@python -m tools.audit $(ARGS)

# In an environment of its own: with the tool's dependencies Great Expectations imports seconds longer.
.PHONY: sbom
sbom: $(VENV)/.dev ## write a CycloneDX bill of materials, build/sbom.json (ENV=/path/to/venv)
	@test -x build/sbom-venv/bin/cyclonedx-py || { python -m venv build/sbom-venv && \
		build/sbom-venv/bin/pip install --quiet -c constraints.txt cyclonedx-bom; }
	@build/sbom-venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.json $(or $(ENV),$(VENV))

.PHONY: lock
lock: $(VENV)/.dev ## write the requirement files with hashes, deploy/*.txt (needs uv)
	@python -m tools.lock

.PHONY: docs
docs: $(VENV)/.dev ## build the documentation, build/docs/index.html; a broken link fails
	@python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs

.PHONY: dist
dist: $(VENV)/.dev ## build and check the wheel and the source distribution, in dist/
	@rm -rf dist
	@python -m build --no-isolation
	@python -m twine check --strict dist/*

.PHONY: bench
bench: $(VENV)/.core ## measure the value of unlabeled rows on the embedded data (ARGS="--draws 3")
	@python -m benchmarks.embedded $(ARGS)

.PHONY: bench-synthesis
bench-synthesis: $(VENV)/.core ## compare synthetic rows of Adult with CTGAN and TVAE, 1.5 hours (ARGS="--resume")
	@python -m benchmarks.synthesis $(ARGS)

.PHONY: bench-few-labels
bench-few-labels: $(VENV)/.core ## compare with scikit-learn on few labels, an hour (ARGS="tables --draws 5")
	@python -m benchmarks.few_labels $(or $(ARGS),tables)

.PHONY: bench-mnist
bench-mnist: $(VENV)/.core ## MNIST with 100 labels (ARGS="--model ssvae --draws 10")
	@python -m benchmarks.mnist $(ARGS)

.PHONY: bench-orchestration
bench-orchestration: $(VENV)/.core ## measure the overhead of Prefect and DVC, half an hour
	@python -m benchmarks.orchestration $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.core ## kill processes of a running pipeline at random, count losses (ARGS="--kills 50")
	@python -m benchmarks.chaos $(ARGS)

.PHONY: clean
clean: ## remove outputs and test caches (not .venv, DVC's cache and the registry)
	rm -rf data/samples data/prepared data/encoded data/synthetic data/schema.json build dist \
		.semigen .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find models -mindepth 1 -maxdepth 1 ! -name registry -exec rm -rf {} + 2>/dev/null || true
	find reports -type f ! -name metrics.json ! -name scores.json -delete 2>/dev/null || true

# Installation. Stamp files make it free the second time.

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.created
	@$(call install,.[pipeline])
	@python -c 'from flows.pipeline.dvc_graph import settle_scm; settle_scm()'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@$(call install,.[dev])
	@touch $@

# The stamp is written last: an environment whose creation was killed is created again.
$(VENV)/.created:
	@if $(BIN)/python -m pip --version || { command -v uv && $(BIN)/python -c ''; }; then \
		exit 0; \
	fi >/dev/null 2>&1; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Creating $(VENV) with $$($$python --version)"; \
			exec $$python -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "error: no Python 3.11 or newer found (python3 is $$(python3 --version 2>&1));" \
		"install one, or name it: make run PYTHON=/path/to/python" >&2; exit 1
	@touch $@

# With uv where it is installed, else with pip. compileall uses all cores, which is faster than pip's
# own compilation; without it the first run of the pipeline would compile.
define install
	if command -v uv >/dev/null; then \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '$(1)'; \
	else \
		echo "Installing (about a minute the first time)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
			-c constraints.txt -e '$(1)'; \
	fi
	$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null || true
endef
