"""The shape of the project: one version everywhere, a wheel with its data and without tests, extras that bite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import opsbrain
from tests.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=out)
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_the_packages_and_no_tests(wheel_files: set[str]) -> None:
    top = {name.split("/", 1)[0] for name in wheel_files}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


def test_wheel_ships_the_data_beside_the_code(wheel_files: set[str]) -> None:
    shipped = {".gz", ".json", ".html", ".css", ".js", ".jinja", ".j2", ".svg", ".toml"}
    tracked = subprocess.run(
        ["git", "ls-files", "opsbrain", "benchmarks"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    wanted = {name for name in tracked if Path(name).suffix in shipped and (ROOT / name).exists()}
    assert wanted <= wheel_files


def test_version_is_one() -> None:
    version = PYPROJECT["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert opsbrain.__version__ == version
    assert headings[0] == "Unreleased" or headings[0] == version


def test_every_dependency_is_locked_by_hash_and_no_lock_names_a_host() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        pins = re.findall(r"^([a-z0-9-]+)==\S+(?: ;[^\\]+)? \\\n    --hash=sha256:", text, flags=re.MULTILINE)
        assert len(pins) == len(re.findall(r"^[a-z0-9]", text, flags=re.MULTILINE))
        assert "://" not in text
        names = {re.split(r"[\[>=<~ ]", need)[0].lower() for need in PYPROJECT["project"]["dependencies"]}
        assert names <= set(pins)


def test_the_demo_installs_neither_torch_nor_prophet() -> None:
    assert not re.search(r"^(torch|prophet|nvidia)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)


def test_a_required_part_that_is_missing_fails_instead_of_skipping(tmp_path: Path) -> None:
    conftest = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.torch\ndef test_it():\n    pytest.skip('quietly')\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    env = {key: value for key, value in os.environ.items() if key != "OPSBRAIN_REQUIRE"}
    free = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    bound = subprocess.run(
        command, cwd=tmp_path, env=env | {"OPSBRAIN_REQUIRE": "torch"}, capture_output=True, text=True, check=False
    )
    assert (free.returncode, bound.returncode) == (0, 1), free.stdout + bound.stdout
    absent = subprocess.run(
        command,
        cwd=tmp_path,
        env=env | {"OPSBRAIN_REQUIRE": "no_such_part"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert absent.returncode == 1
    assert "no_such_part" in absent.stdout + absent.stderr
