"""The wheel installs into an empty environment, and what it installs starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("wire", "gateway", "terminal", "simulators")
COMMANDS = ("tapscan-gateway", "tapscan-terminal", "tapscan-sim")


def _run(*command: str | Path) -> str:
    result = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: building leaves folders behind, and tests that run side by side would share them.
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package)
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY.md"):
        shutil.copy(ROOT / name, source)
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    (built,) = folder.glob("tapscan-*.whl")
    return built


def test_wheel_holds_the_four_packages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    data = {Path(name).suffix for name in names if not name.endswith(".py")}
    assert {".sql", ".typed"} <= data
    pages = "terminal/till_page/static/"
    assert {name for name in names if name.startswith(pages)} == {
        pages + path.name for path in (ROOT / pages).iterdir()
    }


def test_three_commands_start_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    _run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    # The locked versions, so that this test tests our wheel and not today's registry.
    constraints = tmp_path / "constraints.txt"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    constraints.write_text("\n".join(re.findall(r"^[A-Za-z0-9].*?==[^\\\n]*", lock, re.MULTILINE)))
    _run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", constraints, wheel)
    for command in COMMANDS:
        assert "Usage" in _run(tmp_path / "venv/bin" / command, "--help")
    # One command that needs the data files of the wheel, and no reader library.
    config = tmp_path / "gateway.toml"
    config.write_text('[storage]\ndatabase = "tapscan.sqlite3"\nvault_key_file = "vault.key"\n')
    _run(tmp_path / "venv/bin/tapscan-gateway", "migrate", "--config", config)
    assert (tmp_path / "tapscan.sqlite3").exists()
