from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from curation.errors import (
    DataError,
    InputError,
    LedgerError,
    ModelError,
    RecipeError,
    UserError,
    WinnowError,
    exit_on_user_error,
)


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_whose_fault_an_error_is() -> None:
    assert {RecipeError, InputError, ModelError} == set(UserError.__subclasses__())
    assert {UserError, DataError, LedgerError} == set(WinnowError.__subclasses__())


@pytest.mark.parametrize("kind", [UserError, RecipeError, InputError, ModelError])
def test_the_users_mistake_is_one_line_and_exit_2(kind: type[UserError], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_on_user_error(raising(kind("no file\n  a\tb\r\nhere"))) == 2
    assert capsys.readouterr() == ("", "error: no file a b here\n")


@pytest.mark.parametrize("error", [DataError("bad"), LedgerError("lost"), ValueError("bug"), SystemExit(3)])
def test_everything_else_is_raised(error: BaseException) -> None:
    with pytest.raises(type(error)):
        exit_on_user_error(raising(error))


def test_an_interrupt_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_on_user_error(raising(KeyboardInterrupt())) == 130
    assert "continues" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_status_is_what_main_returns(returned: int | None, status: int) -> None:
    assert exit_on_user_error(lambda: returned) == status


def test_a_data_error_keeps_its_reason_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("bad_utf8", "byte 7")))
    assert (error.reason, error.message, str(error)) == ("bad_utf8", "byte 7", "bad_utf8: byte 7")
    assert str(DataError("bad_utf8")) == "bad_utf8"
