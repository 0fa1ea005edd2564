"""Runners that are compiled: a runner's folder with a CMakeLists.txt is built into .toolchains/<runner>/.

CMake and Ninja come from the runner's requirements.txt, the compiler is the system's.
A build counts only as long as the runner's sources and the packages it was built against are still the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from store.definition import content_hash
from store.errors import DeadheatError

BUILDS = ".toolchains"
STAMP = ".deadheat-build"  # holds the hash of what was built
PACKAGES = ".deadheat-packages"  # holds the hash of what it is built against
LOG = "build.log"
COMPILER = "g++"
NO_COMPILER = f"there is no C++ compiler {COMPILER} here; install it with: apt-get install {COMPILER}"


class BuildError(DeadheatError):
    """A runner that cannot be built here."""


def known_builds(runners: Path) -> list[str]:
    """Return the names of the runners that are compiled, sorted."""
    return sorted(path.parent.name for path in runners.glob("[!_]*/CMakeLists.txt"))


def find_build(source: Path, *, root: Path) -> Path | None:
    """Return where the runner in `source` was built from what its folder and the packages hold now, else None."""
    home = root / BUILDS / source.name
    stamp = home / STAMP
    is_current = stamp.exists() and stamp.read_text(encoding="ascii") == build_fingerprint(source)
    return home if is_current else None


def reason_unbuilt() -> str:
    """Return why a runner that has not been built is not there."""
    if shutil.which(COMPILER) is None:
        return NO_COMPILER
    return "it is not built from its sources and packages as they are now"


def build_runner(source: Path, *, root: Path) -> Path:
    """Build the runner in `source`, as far as that is not done yet, and return where.

    Raises
    ------
    BuildError
        If a tool is missing or the build fails.
    """
    home = root / BUILDS / source.name
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_name(f"{source.name}.lock")):
        if find_build(source, root=root) is None:
            fingerprint = build_fingerprint(source)
            _prepare(source, home)
            _build(source, home)
            (home / STAMP).write_text(fingerprint, encoding="ascii")
    return home


def build_fingerprint(source: Path) -> str:
    """Return a hash of a runner's folder and of the packages it is built against."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    contents = [item for path in files for item in (str(path.relative_to(source)), path.read_bytes())]
    return content_hash(packages_fingerprint(source), *contents)


def packages_fingerprint(source: Path) -> str:
    """Return a hash of the packages that a runner requires, as they are installed, and of where they are."""
    lines = (source / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines]
    return content_hash(sys.prefix, *(f"{name}=={_installed_version(name)}" for name in names))


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _prepare(source: Path, home: Path) -> None:
    """Begin anew where other packages were built against: compilers judge by dates, which packages may bring along."""
    packages = packages_fingerprint(source)
    kept = home / PACKAGES
    if not kept.exists() or kept.read_text(encoding="ascii") != packages:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        kept.write_text(packages, encoding="ascii")
    (home / STAMP).unlink(missing_ok=True)


def _build(source: Path, home: Path) -> None:
    cmake, ninja, compiler = _tool(source, "cmake"), _tool(source, "ninja"), shutil.which(COMPILER)
    if compiler is None:
        raise BuildError(f"{source.name}: {NO_COMPILER}")
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_CXX_COMPILER": compiler,
        "CMAKE_MAKE_PROGRAM": ninja,
        "Python_EXECUTABLE": sys.executable,
    }
    defined = [f"-D{name}={value}" for name, value in options.items()]
    _run([cmake, "-G", "Ninja", "-S", str(source), "-B", str(home), *defined], source.name, home)
    _run([cmake, "--build", str(home)], source.name, home)


def _tool(source: Path, name: str) -> str:
    """Return the path of a tool: that of the environment, else the one on the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        wanted = f"expected the package of {source.name}'s requirements.txt"
        raise BuildError(f"{source.name}: there is no {name} here; {wanted}. Run make setup.")
    return found


def _run(command: list[str], name: str, home: Path) -> None:
    """Run one step of a build; what it printed is kept beside the build."""
    english = {**os.environ, "LC_ALL": "C"}
    answer = subprocess.run(
        command, env=english, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (home / LOG).write_text(answer.stdout, encoding="utf-8")
    if answer.returncode != 0:
        lines = answer.stdout.strip().splitlines() or [f"exit code {answer.returncode}"]
        told = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise BuildError(f"{name}: the build failed: {told.strip()}. All that was printed is in {home / LOG}.")
