"""Definitions are read strictly and complain clearly."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.definition import Definition, DefinitionError, content_hash, person_path, read_definition, unknown_name


class Inner(Definition):
    """A nested definition."""

    size: int


class Outer(Definition):
    """A definition with a list of nested ones."""

    name: str
    parts: list[Inner] = []  # noqa: RUF012 - pydantic copies it


def read(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "it.toml"
    path.write_text(text, encoding="utf-8")
    return read_definition(path, Outer, DefinitionError)


def test_a_valid_file_is_read(tmp_path):
    """Values arrive with their types."""
    found = read(tmp_path, 'name = "a"\n[[parts]]\nsize = 3\n')

    assert found == Outer(name="a", parts=[Inner(size=3)])


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path):
    """A misspelt key inside a list names its place, and what may stand there."""
    with pytest.raises(DefinitionError, match=r"it\.toml: parts\.0\.sise: unknown key; known keys are size"):
        read(tmp_path, 'name = "a"\n[[parts]]\nsize = 3\nsise = 4\n')


def test_a_value_of_the_wrong_type_is_shown(tmp_path):
    """A number in quotes is not a number."""
    with pytest.raises(DefinitionError, match=r"parts\.0\.size: got '3'; input should be a valid integer"):
        read(tmp_path, 'name = "a"\n[[parts]]\nsize = "3"\n')


def test_a_missing_key_is_named(tmp_path):
    """What must be there and is not is said."""
    with pytest.raises(DefinitionError, match="name: is missing"):
        read(tmp_path, "")


def test_all_mistakes_are_told_at_once(tmp_path):
    """A person corrects a file once, not once per mistake."""
    with pytest.raises(DefinitionError) as caught:
        read(tmp_path, "nmae = 1\n")

    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_not_toml_names_the_line(tmp_path):
    """The parser's position is passed on."""
    with pytest.raises(DefinitionError, match="is not valid TOML.*line 1"):
        read(tmp_path, "name = \n")


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    """A path that is no file is an error of ours, not a traceback."""
    with pytest.raises(DefinitionError, match="cannot be read"):
        read_definition(tmp_path / "absent.toml", Outer, DefinitionError)


def test_an_unknown_name_suggests_the_nearest():
    """A slip of the finger is recognised."""
    message = unknown_name("runner", "python_pytroch", ["python_pytorch", "julia_stdlib"], "Correct it.")

    assert "known: julia_stdlib, python_pytorch. Did you mean 'python_pytorch'?" in message


def test_hashes_keep_parts_apart():
    """Moving a letter from one part to the next changes the hash."""
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_the_mark_of_an_editor_is_no_part_of_the_text(tmp_path: Path):
    """Editors on Windows write one before the first letter."""
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbfname = 'a'\nsize = 1\n")

    assert read_definition(path, Marked, DefinitionError) == Marked(name="a", size=1)


@pytest.mark.parametrize(("text", "expected"), [("~/store", "home/store"), ("~", "home")])
def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str):
    """Also where no shell has put it in, as in a variable of a workflow."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert person_path(text) == tmp_path / expected
    assert person_path("a~b/c") == Path("a~b/c")


def test_without_a_home_folder_a_tilde_is_refused(monkeypatch: pytest.MonkeyPatch):
    """A container whose user has none."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))

    with pytest.raises(DefinitionError, match="there is no home folder.*Name it whole"):
        person_path("~/store")


class Marked(Definition):
    """Something small."""

    name: str
    size: int
