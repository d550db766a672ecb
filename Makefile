# GNU make 4.3. `make help` lists the commands. ARGS is handed on: make test ARGS="-k ledger -x"

PYTHON ?= python3
ARGS ?=
FIRST ?=
SEEDS ?=
BIN := .venv/bin
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-emit-index-url --no-header

# Installs what is missing, and takes a tenth of a second when nothing is.
install = @command -v "$(PYTHON)" >/dev/null \
	|| { echo "$(PYTHON) is not there: install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }; \
	"$(PYTHON)" requirements/install.py
# Builds the page where its sources changed.
dashboard = @$(BIN)/python dashboard/build.py

.PHONY: help setup demo test check sim conformance bench peers lock clean
.NOTPARALLEL:

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s  %s\n", $$1, $$2 }' Makefile

setup: ## build .venv with everything that tests and checks need
	$(install) dev
	$(dashboard)

demo: ## run a simulated exchange, NATS and the monitor, and let connections fail; Ctrl-C stops all
	$(install) run
	$(dashboard)
	@exec $(BIN)/account-monitor demo $(ARGS)

test: ## run every test that this machine allows
	$(install) dev
	$(dashboard)
	@exec $(BIN)/pytest --numprocesses auto --dist loadfile $(ARGS)

check: ## formatting, lint, types, the direction of imports, and what is made from code
	$(install) dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m deploy.grafana --check

bench: ## run the benchmarks
	$(install) dev
	@exec $(BIN)/python -m benchmarks $(ARGS)

sim: ## live through simulated worlds by seed, SEEDS=5000 of them; FIRST=17 SEEDS=1 repeats one
	$(install) dev
	@exec $(BIN)/python -m tests.simulation $(if $(FIRST),--first $(FIRST)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

conformance: ## let real exchange clients use the simulated exchange, in .venv-conformance
	$(install) uv
	@test -x .venv-conformance/bin/python || "$(PYTHON)" -m venv --without-pip .venv-conformance
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-conformance/bin/python requirements/conformance.txt
	@exec .venv-conformance/bin/python -m pytest -c conformance/pytest.ini conformance $(ARGS)

peers: ## add what the benchmarks compare with, in .venv-peers
	$(install) uv
	@test -x .venv-peers/bin/python || "$(PYTHON)" -m venv --without-pip .venv-peers
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-peers/bin/python requirements/peers.txt

lock: ## pin the dependencies anew; ARGS=--upgrade takes the newest
	$(install) uv
	$(UV_COMPILE) $(ARGS) --output-file requirements/bootstrap.txt requirements/bootstrap.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/run.txt --extra embedded --extra notify pyproject.toml requirements/build.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/dev.txt requirements/dev.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/conformance.txt requirements/conformance.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/peers.txt requirements/peers.in

clean: ## remove everything that make made
	rm -rf dashboard/node_modules src/account_monitor/api/dashboard .venv .venv-conformance .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
