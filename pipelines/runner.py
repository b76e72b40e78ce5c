"""Which engine runs a pipeline, and the pipeline options that Beam takes.

Beam's own DirectRunner first tries to download another engine, so with a network the same command would run on code
that nobody here tested. `DirectRunner` therefore means the in-process runner, or one process a worker.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
    _BeamArgumentParser,
)
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from curation.errors import CommandLine, UserError
from curation.recipe import suggest

Build = Callable[[beam.Pipeline], None]


class Execute(Protocol):
    """Runs one named pipeline to its end. A light one has too little to do for more than one process."""

    def __call__(self, name: str, build: Build, light: bool = False) -> None: ...


def parse_size(text: str) -> int:
    """Bytes, from a command line."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?B?|B)?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64MiB")
    power = " KMGT".index((match[2] or " ")[0].upper().replace("B", " "))
    return int(float(match[1]) * 1024**power)


def beam_flags(flags: Sequence[str], workers: int, own: CommandLine) -> list[str]:
    """What the command line `own` left over, checked. Beam itself only warns of `--runer=X` and runs something else."""
    parser = _Parser(prog=own.prog, add_help=False)
    for cls in {str(c): c for c in PipelineOptions.__subclasses__()}.values():
        cls._add_argparse_args(parser)
    names = [option for action in (*parser._actions, *own._actions) for option in action.option_strings]
    unknown = parser.parse_known_args(list(flags))[1]
    if unknown:
        raise UserError(f"unknown option {unknown[0]}{suggest(unknown[0].split('=')[0], names)}")
    if _runner(flags) == "DataflowRunner":
        cloud = PipelineOptions(list(flags)).view_as(GoogleCloudOptions)
        missing = [name for name in ("project", "region", "temp_location") if not getattr(cloud, name)]
        if missing:  # Beam would look for credentials, then create a bucket
            raise UserError(f"--runner=DataflowRunner needs {', '.join(f'--{name}' for name in missing)}")
    if _runner(flags) != "DirectRunner":
        return list(flags)
    mode = "multi_processing" if workers > 1 else "in_memory"
    return [*flags, f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"]


class _Parser(CommandLine, _BeamArgumentParser):
    """Beam's parser, complaining in our way."""


def _runner(flags: Sequence[str]) -> str:
    return PipelineOptions(list(flags)).view_as(StandardOptions).runner or "DirectRunner"


def is_remote(flags: Sequence[str]) -> bool:
    """Whether workers are other machines."""
    return _runner(flags) == "DataflowRunner" and not is_dry_run(flags)


@contextmanager
def temporary_files() -> Iterator[None]:
    """A temporary folder for this process and those that it starts, for what Beam leaves behind; it goes at the end."""
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            tempfile.tempdir = None
            os.environ.pop("TMPDIR")


def is_dry_run(flags: Sequence[str]) -> bool:
    return bool(PipelineOptions(list(flags)).view_as(TestOptions).dry_run)


def executor(flags: Sequence[str]) -> Execute:
    """What runs one named pipeline to its end, and raises if it failed."""
    if _runner(flags) == "DirectRunner":
        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        one = ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
        return lambda name, build, light=False: _run_here(build, PipelineOptions([*flags, *(one if light else [])]))
    return lambda name, build, light=False: submit(name, build, flags)


def _run_here(build: Build, options: PipelineOptions) -> None:
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    pipeline = beam.Pipeline(runner=FnApiRunner(provision_info=provision), options=options)
    build(pipeline)
    pipeline.run().wait_until_finish()


def submit(name: str, build: Build, flags: Sequence[str]) -> None:
    """Submit a pipeline as a job of its own, and wait for it unless this is a dry run."""
    options = PipelineOptions(list(flags))
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = re.sub("[^a-z0-9]+", "-", f"{cloud.job_name or 'winnow'}-{name}".lower())
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:  # options that are missing or do not fit; nothing has been built yet
        raise UserError(str(error)) from None
    build(pipeline)
    result: Any = pipeline.run()
    if not is_dry_run(flags):
        state = result.wait_until_finish()
        if state not in (None, "DONE"):
            raise RuntimeError(f"{cloud.job_name} ended in state {state}")
