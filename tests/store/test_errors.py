"""Who made the mistake: a user's ends in one line and code 2, the program's own in its traceback."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

import pytest

import deadheat
from store.errors import DeadheatError

PACKAGES = ("collector", "store", "analysis")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Return a function that makes the command line end with an error."""

    def fail_with(error: Exception) -> None:
        def app() -> None:
            raise error

        monkeypatch.setattr(deadheat, "app", app)

    return fail_with


def test_a_users_mistake_is_one_line(failing, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    failing(DeadheatError("here: it is wrong; expected right. Mend it."))

    with pytest.raises(SystemExit) as ended:
        deadheat.main()

    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: here: it is wrong; expected right. Mend it.\n"


def test_a_mistake_of_the_program_keeps_its_traceback(failing) -> None:
    """Whatever module it comes from."""
    failing(ValueError("math domain error"))

    with pytest.raises(ValueError, match="math domain"):
        deadheat.main()


def test_every_error_of_ours_that_is_a_value_error_has_one_parent() -> None:
    """A new kind of mistake is told like the others."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if ".runners" not in module.name:
                import_module(module.name)

    orphans = [kind for kind in ValueError.__subclasses__() if kind.__module__.split(".")[0] in PACKAGES]
    assert orphans == [DeadheatError]
