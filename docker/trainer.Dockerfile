# The image of the trainer, for one NVIDIA GPU or none. torch brings its own CUDA libraries; the host brings the driver.
# Build from the repository root: docker build -f docker/trainer.Dockerfile -t IMAGE .

FROM python:3.11-slim-bookworm

# torch.compile (run.compile) builds small C programs when it starts.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/winnow
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY curation ./curation
COPY models ./models
COPY pipelines ./pipelines
COPY trainer ./trainer
RUN pip install --no-cache-dir -c constraints.txt '.[trainer]' \
    && python -c "import torch, trainer.pretrain; assert torch.version.cuda, 'this torch has no CUDA'"

ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1

# The dataset is mounted on /data and the run, with its checkpoints, on /run/winnow, which must be writable for this user.
RUN useradd --uid 10001 --create-home winnow \
    && install -d -o winnow -g winnow /data /run/winnow
USER 10001
WORKDIR /home/winnow

ENTRYPOINT ["python", "-m", "trainer.pretrain"]
CMD ["--help"]
