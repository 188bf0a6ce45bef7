"""Source and environment of a run: which files, which commit, which champion to compare with, which packages."""

from __future__ import annotations

import ast
from typing import Any

import msgspec

from flyball.backends.executors.confine import can_confine
from flyball.core.digests import canonical_json
from flyball.core.errors import BadInput
from flyball.pipelines.environment import read_environment
from flyball.pipelines.source_tree import SourceTree, check_out, code_digest, read_tree
from flyball.pipelines.stages.job import Job, Made
from flyball.registry.aliases import find_alias
from flyball.registry.known_champion import KnownChampion, find_known_champion
from flyball.registry.versions import ModelVersion, find_version, get_version


def take_source(job: Job) -> Made:
    """The run's files checked out, and the version it is compared with, fixed from here on."""
    request = job.request
    if request.tree is None:
        raise BadInput("a run needs a source tree; start it with `start_run`, which takes the folder's")
    tree = read_tree(request.tree, job.shop.blobs)
    champion = _find_champion(job)
    git = msgspec.to_builtins(request.git) if request.git is not None else _git_of(champion, request.tree)
    outputs = {
        "tree": request.tree,
        "code": code_digest(tree),
        "git": git,
        "wants_champion": wants_champion(tree, job.project.train.entry),
        "champion": None if champion is None else {"number": champion.number, "digest": champion.digest},
        "champion_lineage": {} if champion is None else champion.lineage,
        "test_files": test_files(tree),
    }
    commit = (git or {}).get("commit")
    facts = {
        "files": len(tree.files),
        "tree": request.tree,
        "commit": commit,
        "dirty": (git or {}).get("is_dirty"),
    }
    return Made(outputs, facts)


def take_environment(job: Job) -> Made:
    """The environment's digest; its description is kept as an object."""
    environment = read_environment()
    digest = job.shop.blobs.put_object(canonical_json(environment))
    facts = {
        "python": environment.python,
        "packages": len(environment.packages),
        "environment": digest,
        "confined": can_confine(),
    }
    return Made({"digest": digest, "packages": environment.packages}, facts)


def ready_source(job: Job) -> str:
    """The folder with the run's files, checked out if it isn't there: the run may go on on another machine."""
    folder = job.bench.path("source")
    if not folder.is_dir():
        assert job.request.tree is not None
        fresh = job.bench.fresh("source.partial")
        check_out(read_tree(job.request.tree, job.shop.blobs), fresh)
        fresh.rename(folder)
    return str(folder)


def test_files(tree: SourceTree) -> list[str]:
    """The files of a tree whose functions `test_…` are model tests: `model_tests.py`, and those of `model_tests`."""
    paths = [file.path for file in tree.files]
    folder = [path for path in paths if path.startswith("model_tests/") and path.endswith(".py")]
    return sorted([path for path in paths if path == "model_tests.py"] + folder)


def wants_champion(tree: SourceTree, entry: str) -> bool:
    """Whether `train` takes the champion for a warm start; yes where its parameters can't be told without running."""
    module, _, name = entry.partition(":")
    path = module.replace(".", "/") + ".py"
    for file in tree.files:
        if file.path != path:
            continue
        try:
            parsed = ast.parse(file.content)
        except SyntaxError:
            return True
        for node in parsed.body:
            if isinstance(node, ast.FunctionDef) and node.name == name and not node.decorator_list:
                arguments = [*node.args.args, *node.args.kwonlyargs]
                return any(argument.arg == "champion" for argument in arguments)
    return True


def _find_champion(job: Job) -> ModelVersion | KnownChampion | None:
    request = job.request
    with job.shop.database.read() as conn:
        if request.champion is not None:
            return get_version(conn, request.model, request.champion)
        alias = find_alias(conn, request.model, "champion")
        if alias is not None:
            return find_version(conn, request.model, alias.number)
    # A fresh runner's database knows no champion; taking its candidate for the first version would pass every gate.
    return find_known_champion(job.shop.blobs, request.model)


def _git_of(champion: ModelVersion | KnownChampion | None, tree: str) -> dict[str, Any] | None:
    """A retraining's commit is that of the version whose tree it uses."""
    if champion is None or champion.source_tree != tree:
        return None
    git: dict[str, Any] | None = champion.lineage.get("git")
    return git
