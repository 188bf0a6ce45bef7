"""Directions beyond the levels: what single files may reach, function-level imports included."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).parents[2] / "src" / "flyball"
SERVED_FILES = ["flyball.data.spool", "flyball.registry.bundle", "flyball.registry.route_table"]
NOT_IN_A_SERVER = ["alembic", "dbos", "deltalake", "flyball.governance", "litestar", "psycopg", "sqlalchemy"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("flyball", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("module", SERVED_FILES)
def test_what_a_model_server_uses_never_reaches_a_database(graph: grimp.ImportGraph, module: str):
    assert module in graph.modules
    reachable = [name for name in NOT_IN_A_SERVER if name in graph.modules]
    chains = {name: graph.find_shortest_chain(importer=module, imported=name) for name in reachable}
    assert {name: chain for name, chain in chains.items() if chain} == {}


def test_the_remote_client_needs_core_and_an_http_client_only():
    tree = ast.parse((SOURCE / "client.py").read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    strangers = {
        name
        for name in imported
        if not name.startswith("flyball.core")
        and name.partition(".")[0] not in sys.stdlib_module_names | {"httpx2", "msgspec"}
    }
    assert strangers == set()


def test_every_package_of_the_house_is_in_the_graph(graph: grimp.ImportGraph):
    packages = {module.removeprefix("flyball.") for module in graph.find_children("flyball")}
    assert {
        "cli",
        "web",
        "pipelines",
        "serving",
        "monitoring",
        "registry",
        "data",
        "judge",
        "core",
    } <= packages
