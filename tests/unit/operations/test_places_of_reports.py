"""Where a report is written: in place of an earlier one, and never through a link that a change brought along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyball.core.errors import BadInput
from flyball.operations.ci.writing import check_place, write_at


def test_an_earlier_report_is_gone_before_anything_is_run(tmp_path: Path):
    for name in ("report.json", "report.md", "junit.xml", "notes.txt"):
        (tmp_path / name).write_text("forged")
    check_place(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "one.md").write_text("forged")
    check_place(tmp_path / "one.md")
    assert not (tmp_path / "one.md").exists()


def test_links_lead_no_report_elsewhere(tmp_path: Path, ci_reports: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "authorized"
    key.write_text("mine")
    (tmp_path / "out").symlink_to("keys")
    for place in ("out", "out/report.md", "out/below/report.md"):
        with pytest.raises(BadInput, match="out is a link"):
            check_place(Path(place))
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "report.md").symlink_to(key)
    (tmp_path / "real" / "charts").symlink_to("../keys")
    with pytest.raises(BadInput, match="is a link"):
        check_place(Path("real/report.md"))
    written = write_at(ci_reports.good(), Path("real"))
    assert key.read_text() == "mine" and [path.name for path in (tmp_path / "keys").iterdir()] == [
        "authorized"
    ]
    assert all(path.is_file() and not path.is_symlink() for path in written)
    assert not any(path.name.startswith(".") for path in (tmp_path / "real").iterdir())


def test_a_folder_in_the_place_of_a_report_is_told(tmp_path: Path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(BadInput, match="can't be replaced"):
        check_place(tmp_path)
