"""What would go to Dataflow, without Google: each job's graph goes through DataflowRunner's dry run, and that very
proto is executed by two SDK workers in processes of their own, also where a local run would take one process for so
little. What it cannot show: images, permissions, the service."""

from __future__ import annotations

import multiprocessing
import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from google.protobuf import json_format, text_format

from pipelines import run, runner
from tests.whole_way.test_same_bytes import arguments, shards

FLAGS = [
    "--runner=DataflowRunner", "--dry_run=True", "--project=winnow-test", "--region=us-central1", "--no_auth",
    "--temp_location=gs://winnow-test/tmp", "--sdk_container_image=winnow-test/worker:1", "--sdk_location=container",
    "--number_of_worker_harness_threads=1",
    "--experiments=disable_logging_submission_environment",  # a `pip freeze` for each job
]  # fmt: skip

# Each worker is forked from a process that has imported Beam and nothing of ours, and has no connection yet. A fresh
# interpreter would do as well, and take seconds to import Beam.
WORKERS = 2
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["apache_beam", "apache_beam.runners.worker.sdk_worker_main"])
WORKER = """
import os
os.environ.update(environment)
from apache_beam.runners.worker import sdk_worker_main
sdk_worker_main.main([])
"""


@WorkerHandler.register_environment("winnow:forked", bytes)
class Forked(GrpcWorkerHandler):
    """Starts an SDK worker in a new process."""

    started = 0

    def __init__(self, payload, state, provision_info, grpc_server):
        super().__init__(state, provision_info, grpc_server)

    def start_worker(self):
        def place(url: str) -> str:
            return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))

        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": place(self.control_address),
            "LOGGING_API_SERVICE_DESCRIPTOR": place(self.logging_api_service_descriptor().url),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        self.process = FRESH.Process(target=exec, args=(WORKER, {"environment": environment}), daemon=True)
        self.process.start()
        Forked.started += 1

    def stop_worker(self):
        self.process.kill()  # its work is acknowledged; as a machine that is given back
        self.process.join()


def containers(proto: beam_runner_api_pb2.Pipeline) -> list[beam_runner_api_pb2.Environment]:
    urn = common_urns.environments.DOCKER.urn
    return [environment for environment in proto.components.environments.values() if environment.urn == urn]


def submitted(build: runner.Build) -> beam_runner_api_pb2.Pipeline:
    """The proto that DataflowRunner would send."""
    pipeline = beam.Pipeline(options=PipelineOptions(FLAGS))
    build(pipeline)
    pipeline.run()
    return pipeline.runner.proto_pipeline


def run_elsewhere(proto: beam_runner_api_pb2.Pipeline) -> int:
    """Execute a proto with its container replaced by two processes; how many environments that were."""
    docker = containers(proto)
    for environment in docker:
        environment.urn = "winnow:forked"
        environment.payload = b""
    engine = FnApiRunner()
    engine._num_workers = WORKERS
    before = Forked.started
    engine.run_via_runner_api(proto, PipelineOptions([])).wait_until_finish()
    assert Forked.started >= before + WORKERS
    return len(docker)


def test_the_submitted_graphs_make_the_same_shards(models, wet, reference, tmp_path):
    names = []

    def execute(name: str, build: runner.Build, light: bool = False) -> None:
        proto = submitted(build)
        assert any(b"winnow-test/worker:1" in environment.payload for environment in containers(proto))
        assert run_elsewhere(proto) > 0
        names.append(name)

    options = run.parser().parse_args([*arguments(wet, models, tmp_path / "there")])
    assert run.execute(options, execute) == 0
    assert len(names) == 12
    assert shards(tmp_path / "there") == reference


def test_dry_run_submits_nothing(models, wet, tmp_path, capsys):
    assert run.main([*arguments(wet, models, tmp_path / "run"), *FLAGS]) == 0
    assert "commoncrawl/after-near" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["--project=winnow-test", "--temp_location=gs://winnow-test/tmp"])
def test_a_missing_option_is_one_line(models, wet, tmp_path, capsys, missing):
    from curation.errors import exit_on_user_error

    flags = [flag for flag in FLAGS if flag != missing]
    assert exit_on_user_error(lambda: run.main([*arguments(wet, models, tmp_path / "run"), *flags])) == 2
    assert missing.partition("=")[0].removeprefix("--") in capsys.readouterr().err
