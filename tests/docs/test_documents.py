from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "changes/*.md", "examples/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The anchors that a forge gives a document's headings."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path):
    text = _CODE.sub("", document.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name} links to {link}"
        assert ROOT in (target, *target.parents), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def readme_project() -> str:
    (found,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def test_the_projects_eight_lines_are_read_and_none_can_be_left_out(tmp_path: Path):
    from flyball.core.errors import ProjectError
    from flyball.pipelines.project_file import read_project

    lines = readme_project().strip().splitlines()
    assert len([line for line in lines if not line.startswith("[")]) + 3 == len(lines) == 8
    (tmp_path / "flyball.toml").write_text("\n".join(lines))
    project = read_project(tmp_path).project
    assert (project.model.name, project.model.target, project.train.entry) == (
        "credit-default",
        "default",
        "train:train",
    )
    for left_out in lines:
        (tmp_path / "flyball.toml").write_text("\n".join(line for line in lines if line != left_out))
        with pytest.raises(ProjectError):
            read_project(tmp_path)


def test_the_training_function_of_the_readme_trains(command: Any, tmp_path: Path):
    (signature,) = re.findall(r"`(def train\([^)]*\))`", (ROOT / "README.md").read_text(encoding="utf-8"))
    folder = tmp_path / "shop"
    assert command("init", str(folder)).code == 0
    (folder / "train.py").write_text(
        "from sklearn.ensemble import HistGradientBoostingClassifier\n\n\n"
        f"{signature}:\n"
        "    model = HistGradientBoostingClassifier(max_iter=5, random_state=seed, **params)\n"
        "    return model.fit(train.select(features), train[target])\n"
    )
    project = folder / "flyball.toml"
    project.write_text(
        project.read_text()
        .replace('frames = "numpy"', 'frames = "polars"')
        .replace("[data]", '[data]\nexclude = ["category"]')
    )
    said = command("run", cwd=folder)
    assert said.code == 0, said.err
    assert "shop@1 registered" in said.out


def test_the_schema_takes_the_published_projects_and_refuses_what_the_reader_refuses(tmp_path: Path):
    import jsonschema_rs

    from flyball.pipelines.init import init_project
    from flyball.pipelines.project_schema import json_schema
    from flyball.pipelines.setting_list import list_settings

    schema = json_schema()
    assert jsonschema_rs.meta.is_valid(schema)
    validator = jsonschema_rs.Draft202012Validator(schema)
    init_project(tmp_path / "shop")
    texts = [readme_project(), (tmp_path / "shop" / "flyball.toml").read_text()]
    texts += [path.read_text() for path in ROOT.glob("examples/*/flyball.toml")]
    assert len(texts) >= 3
    for text in texts:
        validator.validate(tomllib.loads(text))
        for old, new in (("target", "tagret"), ("[data]", "[dta]"), ('entry = "', 'entry = "no entry')):
            assert not validator.is_valid(tomllib.loads(text.replace(old, new, 1))), new
    for setting in list_settings():
        field = schema["$defs"][setting.owner.__name__]["properties"][setting.key.rpartition(".")[2]]
        assert field["description"], setting.key


def test_the_changelog_fragments_have_a_kind_and_full_sentences():
    for path in (ROOT / "changes").glob("*.md"):
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"\d+\.(added|changed|fixed|removed|security)(\.\d+)?\.md", path.name)
        assert path.read_text(encoding="utf-8").rstrip().endswith(".")
