# The image of a Dataflow worker: Beam's own SDK image, this package with its constraints, KenLM's programs, the models.
# Build from the repository root: docker build -f docker/dataflow.Dockerfile -t IMAGE .
# The tag is the apache-beam of constraints.txt; submit with the same Python minor version.

FROM apache/beam_python3.11_sdk:2.77.0 AS kenlm
# The same base as below, so that the programs meet the C library they were linked against.
ARG JOBS=2
COPY docker/build_lmplz.sh /build/
RUN JOBS="$JOBS" /build/build_lmplz.sh --apt /build/kenlm

FROM apache/beam_python3.11_sdk:2.77.0
COPY --from=kenlm /build/kenlm/bin/ /usr/local/bin/

WORKDIR /opt/winnow
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY curation ./curation
COPY models ./models
COPY pipelines ./pipelines
COPY trainer ./trainer
RUN pip install --no-cache-dir -c constraints.txt '.[dataflow,models]'

# What was trained elsewhere comes from docker/models; the language identifier is fetched and checked against its hash.
COPY docker/models/ /models/
RUN python -m models.fetch language_id --out /models --cache /tmp/winnow && rm -rf /tmp/winnow

# One process a core is Dataflow's way; threads inside numpy would only fight each other.
# Everything is installed in the image's own environment, so the worker need not make another when it starts.
ENV OMP_NUM_THREADS=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
WORKDIR /
# A worker that cannot import the pipeline fails minutes after it was submitted; here it fails at once.
RUN python -c "import apache_beam, pipelines.run; assert apache_beam.__version__ == '2.77.0'" \
    && lmplz -o 2 -S 64M --discount_fallback -T /tmp --text /opt/winnow/constraints.txt --arpa /tmp/check.arpa \
    && rm /tmp/check.arpa

# The page scanner is compiled here, for any CPU of this kind, or each worker would take a minute for it.
ENV NUMBA_CACHE_DIR=/opt/winnow/compiled \
    NUMBA_CPU_NAME=generic
RUN python -c "from curation.extractors.winnow import Winnow; Winnow().prepare()" && chmod -R a+rX /opt/winnow/compiled

ENTRYPOINT ["/opt/apache/beam/boot"]
