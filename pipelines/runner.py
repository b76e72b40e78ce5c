"""Which engine runs a pipeline, and the pipeline options that Beam takes.

Beam's own DirectRunner first tries to download another engine, so with a network the same command would run on code
that nobody here tested. `DirectRunner` therefore means the in-process runner, or one process a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, _BeamArgumentParser
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from curation.errors import UserError
from curation.recipe import suggest

Build = Callable[[beam.Pipeline], None]
Execute = Callable[[str, Build], None]


def beam_options(flags: Sequence[str], workers: int) -> PipelineOptions:
    """Beam's options from what is left of the command line. Beam itself only warns of `--runer=X`; we do not run it."""
    parser = _BeamArgumentParser(prog="pipelines.run", add_help=False, allow_abbrev=False)
    for cls in {str(c): c for c in PipelineOptions.__subclasses__()}.values():
        cls._add_argparse_args(parser)
    names = [option for action in parser._actions for option in action.option_strings]
    unknown = parser.parse_known_args(list(flags))[1]
    if unknown:
        raise UserError(f"unknown option {unknown[0]}{suggest(unknown[0].split('=')[0], [*names, *OWN_OPTIONS])}")
    options = PipelineOptions(list(flags))
    if (options.view_as(StandardOptions).runner or "DirectRunner") == "DirectRunner":
        mode = "multi_processing" if workers > 1 else "in_memory"
        options = PipelineOptions([*flags, f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"])
    return options


OWN_OPTIONS: list[str] = []  # filled by run.py with its own flags, so that a typo of one is recognised


def executor(options: PipelineOptions) -> Execute:
    """What runs one named pipeline to its end, and raises if it failed."""
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    if runner == "DirectRunner":
        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        return lambda name, build: _run_here(build, options)
    return lambda name, build: _submit(name, build, options)


def _run_here(build: Build, options: PipelineOptions) -> None:
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=JobServiceHandle.encode_pipeline_options(options.get_all_options()))
    pipeline = beam.Pipeline(runner=FnApiRunner(provision_info=ExtendedProvisionInfo(provision)), options=options)
    build(pipeline)
    pipeline.run().wait_until_finish()


def _submit(name: str, build: Build, options: PipelineOptions) -> None:
    options = PipelineOptions.from_dictionary(options.get_all_options(drop_default=True))
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = f"{cloud.job_name or 'winnow'}-{name}".lower().replace("_", "-").replace("/", "-")
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    result: Any = pipeline.run()
    if cloud.dry_run:
        return
    state = result.wait_until_finish()
    if state not in (None, "DONE"):
        raise RuntimeError(f"{cloud.job_name} ended in state {state}")
