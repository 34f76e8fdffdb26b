# make reproduce   set up, then run every notebook into results/ (PROFILE=demo, or fma_small, or a profile file of yours)
# make notebooks   set up, then run them on the demo and renew the outputs that notebooks/ shows
# make test        set up, then lint, unit tests and the notebooks through nbval
# make test-browser  set up, then notebook 9 in JupyterLab and the site in Chromium; `make test` calls it where Chromium is on the PATH
# make test-slow   set up, then the tests that take minutes: kills at random moments; they append to benchmarks/results/
# make lint        set up, then check the code and its format (`ruff check --fix` and `ruff format` mend it)
# make readme      set up, then fill the README's table from results/
# make lab         set up, then open JupyterLab
# make site        set up, then write the study as web pages into site/
PYTHON ?= python3
PROFILE ?= demo
BIN := .venv/bin
READY := .venv/ready
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: reproduce notebooks test test-browser test-slow lint readme lab site lock clean

reproduce: $(READY)
	$(BIN)/soundfusion reproduce $(PROFILE)

notebooks: $(READY)
	SOUNDFUSION_RESULTS=results $(BIN)/soundfusion reproduce
	cp results/demo/notebooks/[0-9]*.ipynb notebooks

test: lint
	SOUNDFUSION_DATA="$(CURDIR)/.pytest_cache/data" OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --numprocesses 2 --dist loadfile
	SOUNDFUSION_DATA="$(CURDIR)/.pytest_cache/data" SOUNDFUSION_RESULTS="$(CURDIR)/.pytest_cache/results" $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=1200 notebooks
ifneq ($(CHROMIUM),)
	$(MAKE) test-browser
endif

test-browser: site
	$(BIN)/python -c "import playwright" 2>/dev/null || $(BIN)/pip install --quiet --no-build-isolation --constraint requirements.lock --editable ".[browser]"
	$(BIN)/python -m pytest tests/browser

test-slow: $(READY)
	$(BIN)/python -m pytest tests -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

readme: $(READY)
	$(BIN)/python tooling/readme.py

lab: $(READY)
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

site: $(READY)
	$(BIN)/python -c "import myst_nb, sphinx_book_theme, sphinx_external_toc" 2>/dev/null || $(BIN)/pip install --quiet --no-build-isolation --constraint requirements.lock --editable ".[site]"
	$(BIN)/python -m sphinx --quiet --fresh-env --write-all -c docs . site
	rm -rf jupyter_execute site/.doctrees

# The environment is made again whenever the lock changes, and left alone otherwise.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python tooling/kernel.py
	touch $@

lock:
	uv pip compile --universal --python-version 3.11 --extra test --no-emit-index-url --no-annotate \
		pyproject.toml -o requirements.lock

clean:
	rm -rf .venv
