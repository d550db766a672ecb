# GNU make 4.3. `make help` lists the commands. ARGS is handed on: make test ARGS="-k ledger -x"

PYTHON ?= python3
ARGS ?=
FIRST ?=
SEEDS ?=
BIN := .venv/bin
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-emit-index-url --no-header

# Tests start the program some hundred times. Bytecode halves what each start costs, and collecting the tests takes a
# third, so it is kept where nothing else is: also for those who want none beside their sources.
BYTECODE := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="$(CURDIR)/.venv/bytecode"

# Installs what is missing, and takes a tenth of a second when nothing is.
install = @command -v "$(PYTHON)" >/dev/null \
	|| { echo "$(PYTHON) is not there: install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }; \
	"$(PYTHON)" requirements/install.py
# Builds the page where its sources changed.
dashboard = @$(BIN)/python dashboard/build.py

# What checks deploy/, in an environment of its own: Helm and the schemas of Kubernetes are large.
deploy_tools = @test -x .venv-deploy/bin/python || "$(PYTHON)" -m venv --without-pip .venv-deploy; \
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-deploy/bin/python requirements/deploy.txt

# What builds the site from docs/, in an environment of its own.
docs_tools = @test -x .venv-docs/bin/python || "$(PYTHON)" -m venv --without-pip .venv-docs; \
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-docs/bin/python requirements/docs.txt

.PHONY: help setup demo test check docs pictures proto sim conformance bench peers manifests sbom audit lock clean
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

test: ## run every test that this machine allows; AGAIN=3 tries up to three that failed once more, alone
	$(install) dev
	$(dashboard)
	@status=0; env $(BYTECODE) $(BIN)/pytest --numprocesses auto --dist worksteal $(ARGS) || status=$$?; \
	test $$status != 0 || exit 0; test $$status = 1 -a -n "$(AGAIN)" || exit $$status; \
	count=$$($(BIN)/python -c 'import json; print(len(json.load(open(".pytest_cache/v/cache/lastfailed"))))'); \
	test $$count -ge 1 -a $$count -le $(AGAIN) || exit $$status; \
	echo "=== $$count failed beside all others: tried once more, alone"; \
	env $(BYTECODE) $(BIN)/pytest --last-failed --last-failed-no-failures none

check: ## formatting, lint, types, the direction of imports, and what is made from code
	$(install) dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m deploy.grafana --check
	$(BIN)/python -m deploy.supply licences
	$(BIN)/python -m proto --check
	$(deploy_tools)
	.venv-deploy/bin/python -m deploy.helm --check
	.venv-deploy/bin/python -m deploy.schemas

docs: ## build the documentation into site/, in .venv-docs; a link or an anchor that leads nowhere fails
	$(install) dev
	$(docs_tools)
	PYTHONPATH=src .venv-docs/bin/python -m deploy.supply licences requirements/docs.txt
	$(BIN)/python -m docs.site build/site
	@# Not --quiet: what it does not say, --strict does not count.
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --config-file build/site/mkdocs.yml
	$(BIN)/python -m docs.loads build/site/site
	@rm -rf site && mv build/site/site site && echo "the site is in site/index.html"

pictures: ## make the pictures of the README and docs/ from a running demo, with the Chromium of the system
	$(install) dev
	$(dashboard)
	@exec $(BIN)/python -m docs.pictures $(ARGS)

proto: ## make the messages of gRPC from proto/
	$(install) dev
	$(BIN)/python -m proto

bench: ## run the benchmarks
	$(install) dev
	@exec $(BIN)/python -m benchmarks $(ARGS)

sim: ## live through simulated worlds by seed, SEEDS=5000 of them; FIRST=17 SEEDS=1 repeats one
	$(install) dev
	@exec env $(BYTECODE) $(BIN)/python -m tests.simulation $(if $(FIRST),--first $(FIRST)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

conformance: ## let real exchange clients use the simulated exchange, in .venv-conformance
	$(install) uv
	@test -x .venv-conformance/bin/python || "$(PYTHON)" -m venv --without-pip .venv-conformance
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-conformance/bin/python requirements/conformance.txt
	@exec .venv-conformance/bin/python -m pytest -c conformance/pytest.ini conformance $(ARGS)

peers: ## add what the benchmarks compare with, in .venv-peers
	$(install) uv
	@test -x .venv-peers/bin/python || "$(PYTHON)" -m venv --without-pip .venv-peers
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-peers/bin/python requirements/peers.txt

sbom: ## write the bill of materials of what is locked, sbom.json (CycloneDX)
	$(install) dev
	@exec $(BIN)/python -m deploy.supply sbom $(ARGS)

audit: ## ask whether known weaknesses concern what is locked, in .venv-audit
	$(install) uv
	@test -x .venv-audit/bin/python || "$(PYTHON)" -m venv --without-pip .venv-audit
	$(BIN)/uv pip sync --require-hashes --only-binary=:all: --quiet --python .venv-audit/bin/python requirements/audit.txt
	@exec bash deploy/audit.sh

manifests: ## render deploy/kubernetes from the chart, with Helm, in .venv-deploy
	$(install) uv
	$(deploy_tools)
	@exec .venv-deploy/bin/python -m deploy.helm

lock: ## pin the dependencies anew; ARGS=--upgrade takes the newest
	$(install) uv
	$(UV_COMPILE) $(ARGS) --output-file requirements/bootstrap.txt requirements/bootstrap.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/run.txt --extra embedded --extra notify pyproject.toml requirements/build.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/image.txt --extra notify --constraint requirements/run.txt pyproject.toml
	$(UV_COMPILE) $(ARGS) --output-file requirements/build.txt --constraint requirements/run.txt requirements/build.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/dev.txt requirements/dev.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/deploy.txt requirements/deploy.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/docs.txt requirements/docs.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/conformance.txt requirements/conformance.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/peers.txt requirements/peers.in
	$(UV_COMPILE) $(ARGS) --output-file requirements/audit.txt requirements/audit.in

clean: ## remove everything that make made
	rm -rf dashboard/node_modules src/account_monitor/api/dashboard .venv .venv-conformance .venv-deploy .venv-docs .venv-peers .venv-audit build site sbom.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
