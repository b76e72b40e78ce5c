"""What would go to Dataflow, without Google: each job's graph goes through DataflowRunner's dry run, and that very
proto is executed by an SDK worker in a process of its own. What it cannot show: images, permissions, the service."""

from __future__ import annotations

import sys

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines import run, runner
from tests.whole_way.test_same_bytes import arguments, shards

FLAGS = [
    "--runner=DataflowRunner", "--dry_run=True", "--project=winnow-test", "--region=us-central1", "--no_auth",
    "--temp_location=gs://winnow-test/tmp", "--sdk_container_image=winnow-test/worker:1", "--sdk_location=container",
    "--number_of_worker_harness_threads=1",
]  # fmt: skip


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
    """Execute a proto with its container replaced by a fresh Python process; how many environments that were."""
    docker = containers(proto)
    for environment in docker:
        environment.urn = python_urns.SUBPROCESS_SDK
        environment.payload = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main".encode()
    FnApiRunner().run_via_runner_api(proto, PipelineOptions([])).wait_until_finish()
    return len(docker)


def test_the_submitted_graphs_make_the_same_shards(made, wet, tmp_path):
    names = []

    def execute(name: str, build: runner.Build, light: bool = False) -> None:
        proto = submitted(build)
        assert any(b"winnow-test/worker:1" in environment.payload for environment in containers(proto))
        assert run_elsewhere(proto) > 0
        names.append(name)

    options = run.parser().parse_args([*arguments(wet, made, tmp_path / "there")])
    assert run.execute(options, execute) == 0
    assert len(names) == 10
    assert run.main([*arguments(wet, made, tmp_path / "here"), "--workers", "1"]) == 0
    assert shards(tmp_path / "there") == shards(tmp_path / "here")


def test_dry_run_submits_nothing(made, wet, tmp_path, capsys):
    assert run.main([*arguments(wet, made, tmp_path / "run"), *FLAGS]) == 0
    assert "commoncrawl/after-near" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["--project=winnow-test", "--temp_location=gs://winnow-test/tmp"])
def test_a_missing_option_is_one_line(made, wet, tmp_path, capsys, missing):
    from curation.errors import exit_on_user_error

    flags = [flag for flag in FLAGS if flag != missing]
    assert exit_on_user_error(lambda: run.main([*arguments(wet, made, tmp_path / "run"), *flags])) == 2
    assert missing.partition("=")[0].removeprefix("--") in capsys.readouterr().err
