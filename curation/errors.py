"""Errors, by whose fault they are.

WinnowError
├── UserError      the user's mistake: a recipe, a path, a flag, a missing model. Exit 2, one line, no traceback.
│   ├── RecipeError
│   ├── InputError
│   └── ModelError
├── DataError      bad data: becomes a dead letter with its reason, never stops a run on its own.
└── LedgerError    a record was lost or counted twice: our bug, and the run fails.

Anything else that is raised is our bug too, and crashes with its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


class WinnowError(Exception):
    """Base of every error raised on purpose."""


class UserError(WinnowError):
    """The user can mend this. The message says how, in one line."""


class RecipeError(UserError):
    """The recipe does not say something we can do."""


class InputError(UserError):
    """An input or output path is missing, empty or of a kind we do not read."""


class ModelError(UserError):
    """A model file is missing or is not the file that its manifest describes."""


class DataError(WinnowError):
    """One record cannot be processed. `reason` is a short stable word that the ledger counts by."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


class LedgerError(WinnowError):
    """In is not kept + dropped + failed. Something was lost silently, which is the one thing we promise not to do."""


class CommandLine(argparse.ArgumentParser):
    """An argument parser whose complaints are UserErrors, so one line, and which takes no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def exit_on_user_error(main: Callable[[], int | None]) -> int:
    """Run an entry point; turn a UserError into one line on stderr and exit status 2."""
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough; Python would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell has it
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
