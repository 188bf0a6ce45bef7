"""`flyball ci --local`: what the host would run, in a clean clone, home and environment of this machine."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_repositories import git

SOURCE = Path(__file__).parents[2] / "src"
GATE = '[[gates]]\nmetric = "mae"\nmax = {bound}\n'


def write_wheel(folder: Path) -> str:
    """A wheel that brings this Flyball and what it needs from where they lie; the line of a lock that names it.

    Installing a hundred packages would take longer than all the rest, and the index need not be there.
    """
    path = folder / "here-1-py3-none-any.whl"
    places = f"{SOURCE}\n{sysconfig.get_paths()['purelib']}\n"
    files = {
        "here.pth": places,
        "here-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: here\nVersion: 1\n",
        "here-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "here-1.dist-info/entry_points.txt": "[console_scripts]\nflyball = flyball.cli.main:main\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    files["here-1.dist-info/RECORD"] = record + "here-1.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return f"here @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def repository(
    make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Makes a repository with a project and a lock on main, and a change of the project on a branch."""
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    monkeypatch.setenv("UV_OFFLINE", "1")

    def make(bound: float = 1.0, slope: str = "1.9") -> Path:
        folder = make_project(more=GATE.format(bound=bound))
        (folder / "requirements.lock").write_text(write_wheel(tmp_path))
        git(folder, "init", "--quiet", "--initial-branch=main", ".")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "the first model")
        git(folder, "checkout", "--quiet", "-b", "change")
        text = (folder / "train.py").read_text()
        (folder / "train.py").write_text(
            text.replace('params.get("slope", 2.0)', f"params.get('slope', {slope})")
        )
        git(folder, "commit", "--quiet", "--all", "--message", "another slope")
        return folder

    return make


def test_the_commit_is_checked_in_a_clean_clone_and_environment_and_what_is_not_committed_is_told(
    repository: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    folder = repository()
    (folder / "train.py").write_text("this is not what is checked")
    (folder / "new.py").write_text("")
    monkeypatch.setenv("A_SECRET_OF_MINE", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("FLYBALL_OBJECTS", f"file://{tmp_path / 'store'}")
    said = command("ci", "--local", "--json", "--report", str(tmp_path / "out"), cwd=folder)
    assert said.code == 0, said.err
    done = said.json()
    assert (done["exit_code"], done["commit"]) == (0, git(folder, "rev-parse", "HEAD"))
    assert [(one["model"], one["folder"], one["exit_code"]) for one in done["checks"]] == [("line", ".", 0)]
    assert "new.py" in done["warnings"][0] and "train.py" in done["warnings"][0]
    for step in ("Check out", "Install what the lock names", "Find the models", "Check the change (.)"):
        assert f"== {step}" in said.err
    report = (tmp_path / "out" / "line" / "report.json").read_text()
    assert '"trained":true' in report and '"name":"main ' in report
    assert any((tmp_path / "store").rglob("*"))  # what was trained is there for others
    assert "s3cret" not in report + said.err and not (folder / ".flyball").exists()
    assert sorted(path.name for path in folder.iterdir()) == [
        ".git", "flyball.toml", "new.py", "requirements.lock", "rows.csv", "train.py",
    ]  # fmt: skip


@pytest.mark.long
def test_every_locked_package_is_installed_anew_and_the_change_is_checked_with_them(
    repository: Callable[..., Path],
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    folder, uv = repository(), str(Path(sys.executable).parent / "uv")
    monkeypatch.delenv("UV_OFFLINE")
    build = [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*build, "-o", str(tmp_path / "built"), str(SOURCE.parent)], check=True, timeout=120)
    (wheel,) = (tmp_path / "built").glob("*.whl")
    lock = (SOURCE.parent / "requirements.lock").read_text()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(lock + f"flyball @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    install = [uv, "pip", "install", "--dry-run", "--quiet", "--target", str(tmp_path / "nothing")]
    found = subprocess.run(
        [*install, "--require-hashes", "--requirement", str(folder / "requirements.lock")],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if found.returncode != 0:
        pytest.skip(
            f"uv finds the locked packages neither in its cache nor at an index: {found.stderr[-300:]}"
        )
    git(folder, "commit", "--quiet", "--all", "--message", "a whole lock")
    said = command("ci", "--local", "--json", cwd=folder)
    assert said.code == 0 and [one["exit_code"] for one in said.json()["checks"]] == [0], said.err
    assert "line: pass" in said.err and "flyball==0.1.0 (from file://" in said.err


def test_the_exit_code_is_that_of_the_check(repository: Callable[..., Path], command: Callable[..., Any]):
    folder = repository()
    text = (folder / "flyball.toml").read_text()
    (folder / "flyball.toml").write_text(text.replace("train:train", "train:learn"))
    git(folder, "commit", "--quiet", "--all", "--message", "an entry that is not there")
    said = command("ci", "--local", cwd=folder)
    assert said.code == 1 and "the host's job would end with 1" in said.out, said.err


def test_a_changed_deployments_file_is_only_read_and_a_broken_one_fails_the_change(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    folder = repository()
    git(folder, "checkout", "--quiet", "-B", "files", "main")
    (folder / "deployments").mkdir()
    file = folder / "deployments" / "here.toml"
    file.write_text("[deployments.line]\nversion = 7\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "by files")
    said = command("ci", "--local", cwd=folder)
    assert said.code == 2 and "the change affects no model" in said.err, said.err
    assert "deployments/here.toml:2" in said.err and "the host's job would end with 2" in said.out
    file.write_text(f'[deployments.line]\nversion = "{"7a" * 32}"\n')
    git(folder, "commit", "--quiet", "--all", "--message", "by files")
    said = command("ci", "--local", cwd=folder)
    assert said.code == 0 and "| line: sha256:7a7a7a7a7a7a (deployments/here.toml:1)" in said.err, said.err


def test_a_lock_that_can_not_be_installed_is_broken_and_no_model_is_checked(
    repository: Callable[..., Path], command: Callable[..., Any]
):
    folder = repository()
    (folder / "requirements.lock").write_text("no-such-package-at-all==1 --hash=sha256:" + "0" * 64 + "\n")
    git(folder, "commit", "--quiet", "--all", "--message", "a lock")
    said = command("ci", "--local", "--json", cwd=folder)
    assert said.code == 3 and said.json()["checks"] == [] and "could not be made from the lock" in said.err


def test_wrong_use_is_told(command: Callable[..., Any], make_project: Callable[..., Path], tmp_path: Path):
    folder = make_project()
    assert "is in no Git repository" in command("ci", "--local", cwd=folder).err
    git(folder, "init", "--quiet", ".")
    said = command("ci", "--local", cwd=folder)
    assert said.code == 2 and "has no commit yet" in said.err
    assert "--local posts nothing" in command("ci", "--local", "--post", cwd=folder).err
    assert "writes into a folder" in command("ci", "--local", "--report", "report.md", cwd=folder).err
