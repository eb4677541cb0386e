# Two commands set everything up on a fresh machine: `make run` (a live demo, any user) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench soak faults bpf pictures pages lock debian install uninstall clean

run: $(VENV)/run.stamp
	$(BIN)/ikeconsole demo

# Files side by side, for many tests wait, and those that wait most first; who names some has them one after another.
SIDE_BY_SIDE := --numprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(VENV)/dev.stamp debian $(BIN)/promtool
	$(BIN)/python -m pytest $(or $(PYTEST_ARGS),$(SIDE_BY_SIDE))

check: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ikeconsole check -c config.toml

bench: $(VENV)/dev.stamp debian
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

# Half an hour of clients that come and go beside real tunnels: afterwards every table must be empty, memory must not
# have grown, and no tunnel been lost.
SOAK_ARGS ?= --minutes 30
soak: $(VENV)/dev.stamp debian
	$(BIN)/python -m tests.bench churn $(SOAK_ARGS)

# Every fault that the tests cause, and what it cost: the table of docs/faults.md.
faults: $(VENV)/dev.stamp debian
	$(BIN)/python -m pytest tests/e2e -m fault --write-faults $(PYTEST_ARGS)

# The BPF programs: the objects are committed, so that running them needs no compiler. CI builds them again and compares.
BPF := engine/fastpath/forward.bpf.o engine/fastpath/answers.bpf.o
bpf: $(BPF)
$(BPF): %.o: %.c $(wildcard engine/fastpath/*.h) debian
	clang -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 -I/usr/include/$(shell gcc -print-multiarch) \
	    -fdebug-compilation-dir=. -c $< -o $@
	llvm-strip -g $@

# The pictures of the console in docs/pictures, after a change of what they show.
pictures: $(VENV)/dev.stamp
	$(BIN)/python tests/pictures.py

# Manual pages and completions, after a change of the command line or of the configuration's keys.
pages: $(VENV)/dev.stamp
	$(BIN)/python packaging/man/make_pages.py
	$(BIN)/python packaging/completion/make_scripts.py

# What the end-to-end tests and the benchmarks need from Debian; without root they say what is missing.
debian:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then packaging/install-debian-packages; fi

# What judges the alert rules, in tests.
$(BIN)/promtool: | $(VENV)/run.stamp debian
	packaging/fetch-promtool $@

# Refresh the locked versions after a change of pyproject.toml.
COMPILE = $(BIN)/pip-compile -q --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header
lock: $(VENV)/dev.stamp
	$(COMPILE) -o packaging/lock/run.txt pyproject.toml
	$(COMPILE) --extra dev -c packaging/lock/run.txt -o packaging/lock/dev.txt pyproject.toml

$(VENV)/run.stamp: pyproject.toml packaging/lock/run.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r packaging/lock/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp packaging/lock/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r packaging/lock/dev.txt
	touch $@

# For a machine that runs it under systemd (root). DESTDIR, PREFIX and PYTHON are obeyed.
install:
	packaging/install

uninstall:
	packaging/install remove

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
