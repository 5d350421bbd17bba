"""Errors become sentences and exit codes."""

import pytest

from voki_bots import errors
from voki_bots.cli.ending import end

_CASES = [
    (errors.ConfigurationError("a setting"), 2),
    (errors.PluginNotFoundError("x", ()), 2),
    (errors.AuthenticationError("refused"), 3),
    (errors.JoinRefusedError("call:1", "unauthorized"), 3),
    (errors.ConnectionLostError("away"), 4),
    (errors.ReplyTimeoutError("phx_join", 10), 4),
    (errors.IceError("no path", state="failed"), 4),
    (errors.FileWriteError("disk full", path="x"), 1),
    (errors.PluginError("broken", plugin="x"), 1),
    (OSError(2, "No such file or directory", "x"), 1),
    (KeyboardInterrupt(), 130),
]


@pytest.mark.parametrize(("error", "code"), _CASES)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    """0 ok, 1 failed, 2 usage or configuration, 3 refused, 4 unreachable, 130 interrupted."""
    assert end(error) == code


def test_an_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, no class name: what went wrong, on standard error."""
    end(errors.AuthenticationError("the platform refused the password"))
    assert capsys.readouterr() == ("", "error: the platform refused the password\n")


def test_every_problem_of_a_configuration_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All problems are told at once."""
    end(errors.ConfigurationError("voki.url: missing\nbots: none"))
    assert capsys.readouterr().err == "error: voki.url: missing\nerror: bots: none\n"


def test_what_the_platform_says_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason from the network cannot add lines or control the terminal."""
    end(errors.JoinRefusedError("call:1", "no\nerror: all is well\x1b[1A"))
    assert capsys.readouterr().err.count("\n") == 1


def test_a_group_is_told_by_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    """What a task group raises reads as what its tasks raised, each once."""
    same = [errors.IceError("no path", state="failed"), errors.IceError("no path", state="failed")]
    code = end(BaseExceptionGroup("tasks", [ExceptionGroup("more", same)]))
    assert (code, capsys.readouterr().err) == (4, "error: no path\n")


def test_an_interruption_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Who pressed Ctrl-C knows it."""
    end(KeyboardInterrupt())
    assert capsys.readouterr().err == ""


def test_a_mistake_in_the_program_keeps_its_traceback() -> None:
    """Only expected errors become sentences."""
    with pytest.raises(ExceptionGroup):
        end(ExceptionGroup("tasks", [errors.IceError("no path", state="failed"), KeyError("a bug")]))


def test_a_closed_pipe_is_left_to_the_shell() -> None:
    """``voki-bots … | head`` complains of nothing."""
    with pytest.raises(BrokenPipeError):
        end(BrokenPipeError(32, "Broken pipe"))


def test_debug_shows_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    """`--debug` adds the traceback."""
    end(errors.ConnectionLostError("away"), debug=True)
    assert "voki_bots.errors.ConnectionLostError: away" in capsys.readouterr().err
