# Two commands do everything, set-up included:
#   make sample   real pages in, shards out, a small LLaMA trained on them
#   make test     the whole test suite

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

SAMPLE := sample
MODELS := $(SAMPLE)/models
RUN    := $(SAMPLE)/run
DUMP    = $(wildcard $(SAMPLE)/wikipedia/*.xml.bz2)
WINNOW  = $(PY) -m pipelines.run --runner=DirectRunner --recipe tiny --models $(MODELS) --output $(RUN) \
	--input '$(SAMPLE)/crawl-data/**/*.warc.gz' --input 'wikipedia=$(SAMPLE)/wikipedia/*.xml.bz2'

.PHONY: sample test check format clean

# The classifier's negatives are pages of the crawl, so the run is made up to its documents first; it goes on from there.
sample: $(MODELS)/language_id/manifest.json $(MODELS)/perplexity-en/manifest.json $(MODELS)/reference/manifest.json
	@echo "== the pipeline"
	@$(WINNOW)
	@echo "== the trainer"
	@$(PY) -m trainer.pretrain --preset tiny --data $(RUN)/shards --out $(SAMPLE)/llama
	@echo
	@echo "Everything is under $(SAMPLE)/. What to try next:"
	@echo "  $(PY) -m trainer.generate --checkpoint $(SAMPLE)/llama --prompt 'The city of'"
	@echo "  $(PY) -m trainer.pretrain --preset tiny --steps 600 --data $(RUN)/shards --out $(SAMPLE)/longer"
	@echo "  $(PY) -m pipelines.export $(RUN)/commoncrawl/after-near | less"
	@echo "  $(PY) -m pipelines.run --recipe tiny --models $(MODELS) --input YOUR.warc.gz --output my-run"
	@echo "  a copy of curation/recipes/tiny.toml with another threshold, as --recipe: only what it touches is done again"

$(SAMPLE)/crawl.json: $(VENV)/.sample
	@echo "== the sample crawl"
	@$(PY) -m pipelines.sample --out $(SAMPLE)
	@touch $@

$(MODELS)/language_id/manifest.json: $(VENV)/.sample
	@echo "== the models"
	@$(PY) -m models.fetch language_id --out $(MODELS)

$(MODELS)/perplexity-en/manifest.json: $(SAMPLE)/crawl.json
	@$(PY) -m models.train_perplexity --dump $(DUMP) --language en --vocabulary 8000 --out $(MODELS)

$(MODELS)/reference/manifest.json: $(SAMPLE)/crawl.json
	@echo "== the pipeline, up to the documents"
	@$(WINNOW) --until documents
	@$(PY) -m pipelines.export $(RUN)/commoncrawl/documents --out $(SAMPLE)/negatives.jsonl
	@$(PY) -m models.train_reference --positives-dump $(DUMP) --negatives $(SAMPLE)/negatives.jsonl --out $(MODELS)

test: $(VENV)/.dev
	$(PY) -m pytest -n 2 --dist loadgroup

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Winnow needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sample $(VENV)/.dev: $(VENV)/.%: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "== installing into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

clean:
	rm -rf $(SAMPLE) .pytest_cache .mypy_cache .ruff_cache build ./*.egg-info
