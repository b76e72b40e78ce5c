"""Let a trained model write.

    python -m trainer.generate --checkpoint RUN --prompt "The river" --temperature 0.8 --top-p 0.95 --seed 0

Keys and values of what was read are kept, so each token costs one pass of one token. Fit for looking at a model, not
for serving one: one text at a time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from curation.errors import CommandLine, UserError, exit_on_user_error
from trainer import checkpoint
from trainer.device import DEVICES, autocast, pick
from trainer.model import Llama


@torch.no_grad()
def generate(
    model: Llama,
    prompt: Sequence[int],
    length: int,
    *,
    context: int,
    device: torch.device,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
    stop: int | None = None,
    banned: Sequence[int] = (),
) -> list[int]:
    """Up to `length` tokens that follow the prompt (which starts with BOS), ending before `stop`.

    The model sees all tokens up to `context` of them; whenever there would be more, it forgets all but the last half of
    the context and goes on. Temperature 0 takes the likeliest token each time. The same arguments give the same tokens:
    the draw is made on the CPU from `seed`.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = list(prompt)
    was_training = model.training
    model.eval()
    past, unread = model.nothing_read(), tokens[-context:]
    read = 0
    for _ in range(length):
        if read + len(unread) > context:
            past, unread, read = model.nothing_read(), tokens[-max(1, context // 2) :], 0
        with autocast(device):
            logits = model(torch.tensor([unread], device=device), past=past)[0, -1]
        read += len(unread)
        logits = logits.float().cpu()
        logits[list(banned)] = -torch.inf
        token = draw(logits, temperature, top_p, generator)
        if token == stop:
            break
        tokens.append(token)
        unread = [token]
    model.train(was_training)
    return tokens[len(prompt) :]


def draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """One token from logits [V]: among the fewest likeliest whose probabilities reach top_p together."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities, order = torch.softmax(logits / temperature, dim=-1).sort(descending=True, stable=True)
    before = probabilities.cumsum(0) - probabilities
    probabilities[before >= top_p] = 0.0  # the first always stays
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])


def write(
    model: Llama,
    found: checkpoint.Checkpoint,
    prompt: str,
    length: int,
    device: torch.device,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
) -> str:
    """The text that follows a prompt, by the tokenizer that lies in the checkpoint."""
    from models.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(found.tokenizer_file)
    given = tokenizer.encode(prompt).tolist()
    ids = generate(
        model,
        [tokenizer.bos, *given],
        length,
        context=found.config.model.context,
        device=device,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=tokenizer.eos,
        banned=[tokenizer.bos, *range(tokenizer.vocabulary, found.config.model.vocabulary or 0)],
    )
    return tokenizer.decode([*given, *ids])


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m trainer.generate", description="Continue a prompt.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint, or a run's output directory")
    parser.add_argument(
        "--prompt",
        action="append",
        help="how the text begins; may be given several times; by default the model begins a document",
    )
    parser.add_argument("--tokens", type=int, default=100, help="how many to write at most")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token each time")
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    args = parser.parse_args(argv)
    if args.tokens < 1 or not 0 <= args.temperature < math.inf or not 0 < args.top_p <= 1:
        raise UserError("--tokens must be 1 or more, --temperature 0 or more, and --top-p above 0 and at most 1")
    if not 0 <= args.seed < 2**63:
        raise UserError(f"--seed {args.seed}: it must be 0 or more, and below 2^63")
    device = pick(args.device)
    found = checkpoint.find(args.checkpoint)
    model = checkpoint.load_model(found, device)
    for prompt in args.prompt or [""]:
        print(write(model, found, prompt, args.tokens, device, args.temperature, args.top_p, args.seed), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
