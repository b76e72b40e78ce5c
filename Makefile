# Two commands do everything, set-up included:
#   make sample   real pages in, shards out, a small LLaMA trained on them
#   make test     the whole test suite

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
SAMPLE := sample
MODELS := $(SAMPLE)/models
CRAWL  := $(SAMPLE)/crawl-data
DUMP   := $(SAMPLE)/wikipedia
RUN    := $(SAMPLE)/run
# One thread a process: the pipeline and the tests already run one process a core.
export OMP_NUM_THREADS ?= 1

.PHONY: sample test check format clean

sample: $(VENV)/.sample
	$(PY) -m pipelines.sample --out $(SAMPLE)
	$(PY) -m pipelines.sample_models --sample $(SAMPLE) --models $(MODELS)
	$(PY) -m pipelines.run --runner=DirectRunner --recipe tiny --models $(MODELS) --output $(RUN) \
		--input '$(CRAWL)/**/*.warc.gz' --input 'wikipedia=$(DUMP)/*.xml.bz2'
	OMP_NUM_THREADS= $(PY) -m trainer.pretrain --preset tiny --data $(RUN)/shards --out $(SAMPLE)/llama
	@echo
	@echo "What to try next:"
	@echo "  $(PY) -m trainer.generate --checkpoint $(SAMPLE)/llama --prompt 'The city of'"
	@echo "  $(PY) -m pipelines.run --recipe tiny --models $(MODELS) --input YOUR.warc.gz --output my-run"
	@echo "  change a threshold in a copy of curation/recipes/tiny.toml and run again: only what it touches is done again"

test: $(VENV)/.dev
	$(PY) -m pytest -n auto

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Winnow needs Python 3.11 or newer; make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sample $(VENV)/.dev: $(VENV)/.%: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	touch $@

clean:
	rm -rf $(SAMPLE) .pytest_cache .mypy_cache .ruff_cache build ./*.egg-info
