"""Several processes, one training: `torchrun --nproc-per-node 8 -m trainer.pretrain …`.

The processes form a box of replicate x shard x tensor (`[parallel]` in the configuration). Each row of a step goes to
one place of replicate x shard. Over `shard` every weight, its gradient and its moments are cut, and gathered block by
block when needed (FSDP); over `replicate` they are copied (with shard: HSDP). Over `tensor` matrices are cut by heads
and features, and what lies between them, norms and the residual, by tokens (Megatron's tensor and sequence
parallelism).

A step's gradient is the sum over all processes of what each finds, divided by the predictions of the whole step. On the
CPU how many processes there are changes rounding and nothing else. On CUDA it changes precision too: one GPU alone runs
under autocast, where the residual between blocks stays fp32; several run weights that FSDP gathered as bf16, and the
residual is bf16. One process alone takes part in none of this.

The CPU (gloo) is tested with real processes. CUDA (NCCL) is written for and was never run: there was no GPU. Where
there is one process, torch's own parts for several are not imported: they take seconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from curation.errors import UserError
from trainer.config import Config, ParallelConfig
from trainer.device import autocast, pick
from trainer.loss import cross_entropy
from trainer.model import Llama

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

# A tensor that is cut over two axes is put together over one after the other. Its advice to join them is no use here.
logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)

T = TypeVar("T")
_AXES = ("replicate", "shard", "tensor")
_PATIENCE = timedelta(minutes=30)  # with a process that neither answers nor dies


@dataclass(frozen=True, slots=True)
class World:
    """This process among the `size` of the run. `place` is where it stands in the box of `shape`."""

    device: torch.device
    rank: int = 0
    size: int = 1
    shape: tuple[int, int, int] = (1, 1, 1)  # replicate, shard, tensor
    place: tuple[int, int, int] = (0, 0, 0)
    mesh: DeviceMesh | None = None  # None: one process alone

    def __str__(self) -> str:
        if self.size == 1:
            return str(self.device)
        replicate, shard, tensor = self.shape
        return f"{self.size} x {self.device.type} (replicate {replicate}, shard {shard}, tensor {tensor})"

    @property
    def readers(self) -> int:
        """How many processes read different rows."""
        return self.shape[0] * self.shape[1]

    @property
    def reader(self) -> int:
        return self.place[0] * self.shape[1] + self.place[1]

    def rows(self, sequences: int) -> tuple[int, int]:
        """The first of this process's rows among those of a step, and how many they are."""
        own = sequences // self.readers
        return self.reader * own, own

    def columns(self, length: int) -> slice:
        """Which predictions of a row of `length` are this process's own: all but where tensor parallelism cuts it."""
        own = length // self.shape[2]
        return slice(self.place[2] * own, (self.place[2] + 1) * own)

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """What the forward pass is to run in. On CUDA cut weights are gathered as bf16 and take no autocast."""
        return autocast(self.device) if self.mesh is None else contextlib.nullcontext()

    def add(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def most(self, value: int) -> int:
        """The greatest of all processes' values: the same answer for all."""
        if self.size == 1:
            return value
        values = torch.tensor(int(value))
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return int(values)

    def told(self, ask: Callable[[], T]) -> T:
        """What `ask` returns in the first process, in all of them. A UserError there is raised here too."""
        if self.size == 1:
            return ask()
        answer: list[Any] = [None]
        if self.rank == 0:
            try:
                answer = [ask()]
            except UserError as error:
                answer = [error]
        dist.broadcast_object_list(answer, src=0)
        if isinstance(answer[0], UserError):
            raise answer[0]
        result: T = answer[0]
        return result

    def each(self, value: T) -> list[T]:
        """The values of all processes, by rank. Nobody is given them before all have come."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def start(config: ParallelConfig, device: str) -> World:
    """Join the processes that torchrun started, or be alone. `device` is a name for `trainer.device.pick`.

    Raises UserError for a layout that does not fit the number of processes.
    """
    size, rank, local = (int(os.environ.get(name, default)) for name, default in _ENVIRONMENT)
    shape = layout(config, size)
    picked = pick(device)
    if size == 1:
        return World(picked)
    if picked.type == "mps":
        raise UserError("--device mps takes one process: start it without torchrun")
    if picked.type == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local} of this machine has no GPU: it has {torch.cuda.device_count()}")
        picked = torch.device("cuda", local)
        torch.cuda.set_device(picked)
    if not dist.is_initialized():
        # Small things (flags, counts, names) go over gloo on the CPU in either case.
        backend = "cpu:gloo,cuda:nccl" if picked.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(picked.type, shape, mesh_dim_names=_AXES)
    replicate, shard, tensor = mesh.get_coordinate() or (0, 0, 0)
    return World(picked, rank, size, shape, (replicate, shard, tensor), mesh)


_ENVIRONMENT = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def stop() -> None:
    """Take leave of the other processes. All must have come to the same point."""
    if dist.is_initialized():
        dist.destroy_process_group()


def layout(config: ParallelConfig, size: int) -> tuple[int, int, int]:
    """replicate, shard, tensor for so many processes. Raises UserError if they are not as many as the layout needs."""
    others = config.replicate * config.tensor
    shard = size // others if config.shard == -1 else config.shard
    if shard < 1 or others * shard != size:
        asked = f"parallel.replicate = {config.replicate}, shard = {config.shard} and tensor = {config.tensor}"
        raise UserError(f"{asked} do not make {size} processes; torchrun --nproc-per-node says how many there are")
    return config.replicate, shard, config.tensor


def check(config: Config, world: World) -> None:
    """Raise UserError if the model or the step cannot be divided as the layout asks."""
    if config.run.sequences % world.readers:
        raise UserError(
            f"run.sequences = {config.run.sequences} cannot be divided by the {world.readers} processes that read rows"
            " (parallel.replicate x shard)"
        )
    model, tensor = config.model, world.shape[2]
    names = ("heads", "kv_heads", "ffn", "dim", "context", "vocabulary")
    for name in names if tensor > 1 else ():
        parts = tensor if name in ("heads", "kv_heads", "context") else tensor * world.shape[1]
        if getattr(model, name) % parts:
            raise UserError(
                f"model.{name} = {getattr(model, name)} cannot be divided by {parts} (parallel.tensor = {tensor},"
                f" shard = {world.shape[1]})"
            )


def tensor_plan() -> dict[str, Any]:
    """How `tensor` processes share a model: products cut by heads and features, the rest by tokens (axis 1 of x)."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        RowwiseParallel,
        SequenceParallel,
    )

    tokens, whole = Shard(1), Replicate()
    attention = PrepareModuleInput(
        input_layouts=(tokens, None, None, None, None), desired_input_layouts=(whole, None, None, None, None)
    )
    return {
        "embed": RowwiseParallel(input_layouts=whole, output_layouts=tokens),
        "blocks.*.attention_norm": SequenceParallel(),
        "blocks.*.attention": attention,
        "blocks.*.attention.query": ColwiseParallel(),
        "blocks.*.attention.key": ColwiseParallel(),
        "blocks.*.attention.value": ColwiseParallel(),
        "blocks.*.attention.output": RowwiseParallel(output_layouts=tokens),
        "blocks.*.ffn_norm": SequenceParallel(),
        "blocks.*.ffn": PrepareModuleInput(input_layouts=(tokens,), desired_input_layouts=(whole,)),
        "blocks.*.ffn.gate": ColwiseParallel(),
        "blocks.*.ffn.up": ColwiseParallel(),
        "blocks.*.ffn.down": RowwiseParallel(output_layouts=tokens),
        "norm": SequenceParallel(use_local_output=True),
        "head": ColwiseParallel(),
    }


def cut_by_tensor(model: Llama, world: World) -> None:
    """Apply `tensor_plan`. The model then takes whole rows of tokens, but only its own columns of targets."""
    if world.mesh is None or world.shape[2] == 1:
        return
    from torch.distributed.tensor.parallel import parallelize_module

    plan = tensor_plan()
    if model.head is None:
        del plan["head"]
    parallelize_module(model, world.mesh["tensor"], plan)
    model.embed.register_forward_hook(_arrived)
    model.cross_entropy = _cross_entropy_of_own_tokens


def _arrived(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    """A copy, which waits for what is still under way: a compiled block would lose its gradient."""
    return output.clone()


def _cross_entropy_of_own_tokens(hidden: Tensor, weight: DTensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As in loss.py, for this process's stretch of each row: the output layer is gathered, and each pulls its part."""
    from torch.distributed.tensor import Partial

    return cross_entropy(hidden, weight.full_tensor(grad_placements=[Partial()]), targets)


def shard(model: Llama, world: World) -> None:
    """Cut weights over `shard` and copy them over `replicate`, block by block (FSDP2). Last, and before any weight."""
    if world.mesh is None:
        return
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = world.mesh["replicate", "shard"] if world.shape[0] > 1 else world.mesh["shard"]
    policy = MixedPrecisionPolicy()
    if world.device.type == "cuda":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in [*model.blocks, model]:  # the model itself has what is in no block: embedding, last norm, output
        fully_shard(module, mesh=mesh, mp_policy=policy)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)  # a sum: the step has already divided by all its predictions
        module.set_force_sum_reduction_for_comms(True)


def before_backward(model: nn.Module, last: bool) -> None:
    """Copies agree on the gradient once a step, after its last microbatch."""
    if dist.is_initialized():
        cut: Any = model  # FSDP gave it these methods
        cut.set_requires_all_reduce(last)
        cut.set_is_last_backward(last)


def reshard(model: nn.Module) -> None:
    """Let go of what a forward pass gathered and no backward pass came for."""
    if dist.is_initialized():
        cut: Any = model
        cut.reshard()


@torch.no_grad()
def put(own: Tensor, value: Tensor) -> None:
    """Set a parameter, or what is shaped like one, to a value that this process has whole: each takes its piece."""
    if _in_pieces(own):
        from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

        shape, offset = compute_local_shape_and_global_offset(own.shape, own.device_mesh, own.placements)
        value = value[tuple(slice(first, first + count) for first, count in zip(offset, shape, strict=True))]
        own = own.to_local()
    own.copy_(value)


def whole(tensor: Tensor) -> Tensor:
    """The tensor that the processes hold pieces of. All must ask at once."""
    return tensor.full_tensor() if _in_pieces(tensor) else tensor


def _in_pieces(tensor: Tensor) -> TypeGuard[DTensor]:
    if not dist.is_initialized():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def clip(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients so that their global norm is at most `limit`. Returns the norm they had."""
    norm = whole(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if dist.is_initialized():
        dist.broadcast(norm, src=0)  # summed over one axis after the other, it may differ in its last bit
    torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
