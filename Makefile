# The doors of the project. `make train` and `make test` work on a fresh clone with nothing but Python 3.10 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
# what training needs, and then every extra for tests
BASE := .venv/.base
ALL := .venv/.all
DOCS := .venv/.docs
SYNC := build/sync
# one thread a notebook, two notebooks at once: threads of several processes on the same cores wait for each other
NBTEST := OMP_NUM_THREADS=1 $(BIN)/nbdev-test --n-workers 2
# and two files of tests at once
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: setup train test test-all lint sync serve-wheel schemathesis hostile docs bench release-check clean

setup: $(ALL)

$(BASE): settings.ini setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(ALL): $(BASE)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev,app,serve,onnx,ray,log,tune,heic,excel,clip]'
	touch $@

train: $(BASE)  ## train on the embedded sample and print the scores; ARGS="..." for more options
	$(BIN)/fashion-fastai train $(ARGS)

test: setup lint sync  ## what CI runs
	$(NBTEST)
	$(PYTEST) -m 'not slow and not cuda'

test-all: setup sync  ## slow notebooks and tests too
	$(NBTEST) --flags slow
	$(PYTEST) -m 'not cuda'

lint: setup  ## names, traps, old syntax and lines over 120 columns
	$(BIN)/ruff check .

sync: setup  ## prove that notebooks and modules agree, without changing either
	rm -rf $(SYNC) && mkdir -p $(SYNC)
	cp -r nbs fashion_fastai pyproject.toml settings.ini $(SYNC)
	cd $(SYNC) && ../../$(BIN)/nbdev-export
	diff -r -x __pycache__ $(SYNC)/fashion_fastai fashion_fastai || { echo 'modules and notebooks differ: run nbdev-export, or nbdev-update after an edit in a module'; exit 1; }

$(DOCS): $(ALL)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(DOCS)  ## the site in build/docs/html, all links checked
	OMP_NUM_THREADS=1 $(BIN)/python docs/site.py

bench: setup  ## side-by-side measurements
	for file in time_to_quality train_throughput predict_throughput profile_epoch table_scale memory start_up; do $(BIN)/python benchmarks/$$file.py $(ARGS) || exit 1; done
	$(BIN)/python benchmarks/audit.py planted $(ARGS)

serve-wheel: setup  ## the distribution without PyTorch, into dist/
	$(BIN)/python deploy/serve_wheel.py dist

schemathesis: setup  ## draw requests from the OpenAPI document of a running server: make schemathesis URL=http://127.0.0.1:8000
	$(BIN)/python -m pip install --quiet schemathesis
	$(BIN)/schemathesis run $(URL)/openapi.json --checks all --max-examples 200

hostile: setup  ## run every hostile input through the command line; `make docs` then shows what was measured
	rm -rf build/hostile
	$(BIN)/python tests/helpers/hostile.py build/hostile --write

RELEASE := build/release
release-check: $(ALL)  ## build wheel and archive, check them, list the licences, and run every command from the wheel in an environment of its own
	rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)/tools && $(RELEASE)/tools/bin/python -m pip install --quiet build twine cyclonedx-bom
	$(RELEASE)/tools/bin/python -m build --outdir $(RELEASE)/dist
	$(RELEASE)/tools/bin/python -m twine check --strict $(RELEASE)/dist/*
	$(BIN)/python tests/helpers/licences.py > $(RELEASE)/licences.md
	$(PYTHON) -m venv $(RELEASE)/clean && $(RELEASE)/clean/bin/python -m pip install --quiet $(RELEASE)/dist/*.whl
	$(RELEASE)/tools/bin/cyclonedx-py environment --output-format JSON --output-file $(RELEASE)/sbom.json $(RELEASE)/clean/bin/python
	$(RELEASE)/clean/bin/python tests/helpers/smoke.py $(RELEASE)/clean/bin/fashion-fastai $(RELEASE)/smoke

clean:
	rm -rf build _docs _proc
