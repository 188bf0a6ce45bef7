"""One change request that changes one file, on every code host alike: opened once, gone on with, and left to people."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from typing import Any

import msgspec
import pytest

from flyball.backends.egress import exchange
from flyball.backends.egress.changes import Asked, ChangeHost, Wanted, ask_for, with_mark
from flyball.backends.egress.github_changes import open_repository
from flyball.backends.egress.gitlab_changes import open_project
from flyball.core.errors import BadInput, Conflict, EgressRefused, HostRefused, HostUnavailable, NotFound

TOKEN = "tok_5ecret5ecret"
PATH = "deploy ments/é/production.toml"
FILE = "# what serves\r\nversion = 'a' # no\r\nother = 1\r\n"
MARK, LATER = "0123456789ab", "ba9876543210"


def repository(host: Any, **more: str) -> ChangeHost:
    opened = {"github": open_repository, "gitlab": open_project}[host.kind]
    return opened(host.environment(**more))


def wanted(mark: str = MARK, *, to: str = "b", body: str = "why") -> Wanted:
    def edit(content: bytes) -> bytes:
        if b"version" not in content:
            raise BadInput("this is another file")
        start, end = content.index(b"'"), content.rindex(b"'")
        return content[: start + 1] + to.encode() + content[end:]

    return Wanted(
        prefix="flyball/production/shop-",
        mark=mark,
        path=PATH,
        edit=edit,
        title="shop: version 7",
        body=body,
        word="a newer one came",
    )


def ask(host: Any, what: Wanted | None = None, waited: list[float] | None = None) -> Asked:
    sleep = (lambda seconds: None) if waited is None else waited.append
    return ask_for(repository(host), what or wanted(), sleep)


@pytest.fixture
def filled(request_host: Any) -> Any:
    """A host whose default branch has the file."""
    request_host.write("main", "README.md", "hello")
    request_host.write("main", PATH, FILE)
    return request_host


def test_a_request_changes_one_value_of_the_file_on_the_default_branch_and_nothing_else(filled: Any):
    found = ask(filled)
    assert found.state == "opened" and found.url.startswith("https://host.example/")
    [pull] = filled.pulls
    assert (pull["branch"], pull["title"], pull["body"]) == (
        f"flyball/production/shop-{MARK}",
        "shop: version 7",
        with_mark("why"),
    )
    assert filled.read(pull["branch"], PATH) == FILE.replace("'a'", "'b'").encode()
    assert filled.git("diff", "--name-only", "-z", "main", pull["branch"]).split("\0")[:-1] == [PATH]
    assert len(filled.git("rev-list", f"main..{pull['branch']}").split()) == 1
    filled.merge(pull["number"])
    assert filled.read("main", PATH) == FILE.replace("'a'", "'b'").encode()
    assert ask(filled).state == "named" and len(filled.pulls) == 1


def test_asked_again_the_open_request_stands_and_only_another_text_is_written(filled: Any):
    first = ask(filled)
    filled.requests.clear()
    assert ask(filled) == Asked(state="stands", number=first.number, url=first.url)
    assert {method for method, _, _ in filled.requests} == {"GET"}
    again = ask(filled, wanted(body="why, and what was seen since"))
    assert (again.state, again.number) == ("refreshed", first.number)
    assert filled.pulls[0]["body"].endswith("seen since") and len(filled.pulls) == 1


def test_what_people_wrote_into_the_text_stays(filled: Any):
    ask(filled)
    filled.pulls[0]["body"] = with_mark("why").replace("\n", "\r\n") + "\r\n- [x] looked at it"
    assert ask(filled).state == "stands" and "looked at it" in filled.pulls[0]["body"]
    filled.pulls[0]["body"] = "mine alone"
    assert ask(filled, wanted(body="other")).state == "stands" and filled.pulls[0]["body"] == "mine alone"


def test_a_request_that_people_closed_is_a_no_and_one_that_was_merged_and_reverted_is_too(filled: Any):
    ask(filled)
    filled.close_by_hand(1)
    assert ask(filled).state == "declined" and len(filled.pulls) == 1
    ask(filled, wanted(LATER, to="c"))
    filled.merge(2)
    filled.write("main", PATH, FILE, "revert")
    found = ask(filled, wanted(LATER, to="c"))
    assert (found.state, found.number) == ("taken back", 2) and len(filled.pulls) == 2


def test_a_newer_one_closes_the_older_with_a_word_and_removes_its_branch(filled: Any):
    ask(filled)
    found = ask(filled, wanted(LATER, to="c"))
    assert (found.state, found.closed) == ("opened", [1])
    assert [pull["state"] for pull in filled.pulls] == ["closed", "open"]
    assert filled.words == {1: ["a newer one came"], 2: []}
    assert f"flyball/production/shop-{MARK}" not in filled.branches()


def test_an_older_branch_that_others_worked_on_is_closed_and_kept(filled: Any):
    ask(filled)
    filled.write(f"flyball/production/shop-{MARK}", "notes.md", "mine")
    assert ask(filled, wanted(LATER, to="c")).closed == [1]
    assert filled.read(f"flyball/production/shop-{MARK}", "notes.md") == b"mine"


def test_requests_of_other_models_and_of_people_are_left_alone(filled: Any):
    for branch in (
        f"flyball/production/shop-eu-{MARK}",
        "flyball/production/shop-fix",
        "flyball/staging/shop-" + MARK,
    ):
        filled.write(branch, PATH, FILE + "# mine")
        filled.new_pull(branch, "main", "mine", "mine", 409)
    assert ask(filled).closed == []
    assert [pull["state"] for pull in filled.pulls] == ["open"] * 4


def test_a_request_from_a_fork_is_none_of_ours(filled: Any):
    branch = f"flyball/production/shop-{MARK}"
    filled.write(branch, PATH, FILE + "# mine")
    filled.new_pull(branch, "main", "mine", "mine", 409)["fork"] = True
    filled.close_by_hand(1)
    filled.git("update-ref", "-d", f"refs/heads/{branch}")
    assert ask(filled).state == "opened"


@pytest.mark.parametrize("foreign", ["other file", "more in the file", "instead"])
def test_a_branch_of_that_name_with_other_commits_is_not_written_over(filled: Any, foreign: str):
    branch = f"flyball/production/shop-{MARK}"
    if foreign == "other file":
        filled.write(branch, PATH, FILE.replace("'a'", "'b'"))
        filled.write(branch, "notes.md", "mine")
    elif foreign == "more in the file":
        filled.write(branch, PATH, FILE.replace("'a'", "'b'") + "# mine")
    else:
        filled.write(branch, "notes.md", "mine")
    before = filled.commit_of(branch)
    with pytest.raises(Conflict, match="other commits than ours"):
        ask(filled)
    assert filled.commit_of(branch) == before and filled.pulls == []


def after(host: Any, count: int) -> None:
    """From the next writing request but so many on, the host is away."""
    seen = []

    def breaks(method: str, path: str) -> Any:
        if method == "GET":
            return None
        seen.append(path)
        return (503, {}, b"") if len(seen) > count else None

    host.breaks = breaks


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_killed_after_any_step_the_next_one_goes_on(filled: Any, steps: int):
    after(filled, steps)
    with suppress(HostUnavailable):
        ask(filled)
    filled.breaks = lambda method, path: None
    # Meanwhile the default branch goes on, with another line of the same file.
    filled.write("main", PATH, FILE + "more = 2\r\n")
    assert ask(filled).state in ("opened", "stands")
    assert len(filled.open_pulls()) == 1 and len(filled.pulls) == 1
    filled.merge(1)
    assert filled.read("main", PATH) in (
        (FILE.replace("'a'", "'b'") + "more = 2\r\n").encode(),
        FILE.replace("'a'", "'b'").encode() + b"more = 2\r\n",
    )


def test_an_empty_branch_that_people_made_is_used(filled: Any):
    filled.git("update-ref", f"refs/heads/flyball/production/shop-{MARK}", "main")
    assert ask(filled).state == "opened"


def test_many_at_once_open_one_request(filled: Any):
    filled.delay_seconds = 0.01
    with ThreadPoolExecutor(5) as pool:
        found = list(
            pool.map(lambda _: ask_for(repository(filled), wanted(), lambda s: time.sleep(0.05)), range(5))
        )
    assert {one.number for one in found} == {1} and len(filled.pulls) == 1
    assert sum(one.state == "opened" for one in found) == 1
    assert len(filled.git("rev-list", f"main..flyball/production/shop-{MARK}").split()) == 1


def test_a_file_that_is_another_or_none_is_not_changed(filled: Any):
    filled.write("main", PATH, "something else")
    with pytest.raises(BadInput, match="another file"):
        ask(filled)
    for path in ("deploy ments/none.toml", "deploy ments"):
        with pytest.raises((NotFound, BadInput)):
            ask_for(repository(filled), wanted_at(path))
    assert {method for method, _, _ in filled.requests} == {"GET"} and filled.branches() == ["main"]


def wanted_at(path: str) -> Wanted:
    return msgspec.structs.replace(wanted(), path=path)


NOS = (
    ((401, {}, b"{}"), "does not know the token"),
    ((403, {}, b"{}"), "does not let this token propose a change"),
    ((404, {}, b"{}"), "does not let this token propose a change"),
    ((403, {"Retry-After": "60"}, b"{}"), "again in 60 seconds"),
    ((429, {}, b"{}"), "no more requests"),
    ((409, {}, b"{}"), "does not take the change (status 409)"),
    ((422, {}, b"{}"), "does not take the change (status 422)"),
    ((500, {}, b""), "does not answer as it should (status 500)"),
    ((302, {"Location": "https://host.example"}, b""), "status 302"),
    ((200, {}, b"<html>"), "no JSON"),
)


def test_a_no_of_the_host_is_told_at_the_first_question_and_at_the_first_change(filled: Any):
    for no, told in NOS:
        for only_writing in (False, True):

            def breaks(method: str, path: str, no: Any = no, only_writing: bool = only_writing) -> Any:
                return None if only_writing and method == "GET" else no

            filled.breaks = breaks
            with pytest.raises((HostRefused, HostUnavailable)) as error:
                ask(filled)
            assert told in error.value.message and TOKEN not in error.value.message
            assert filled.pulls == [] and filled.branches() == ["main"]


NONSENSE = (b"null", b"7", b"[null]", b'{"object": [], "number": "x"}', b"[" * 100_000)


def test_an_answer_in_another_form_than_the_api_describes_is_told_wherever_it_comes(filled: Any):
    ask(filled)
    for number, nonsense in product(range(5), NONSENSE):
        told = [None] * number + [(200, {}, nonsense)]
        filled.breaks = lambda method, path, told=told: told.pop(0) if told else None
        with suppress(HostRefused, HostUnavailable, BadInput, NotFound, Conflict):
            ask(filled, wanted(LATER, to="c"))
    filled.breaks = lambda method, path: (200, {}, b'{"name": "no default branch"}')
    with pytest.raises(HostUnavailable, match="another form than its API"):
        ask(filled)


def test_a_token_that_may_open_no_requests_leaves_no_branch(filled: Any):
    asks = {"github": "/pulls", "gitlab": "/merge_requests"}[filled.kind]
    filled.breaks = lambda method, path: (
        (403, {}, b"{}") if method == "POST" and path.endswith(asks) else None
    )
    with pytest.raises(HostRefused, match="does not let this token"):
        ask(filled)
    assert filled.branches() == ["main"] and filled.pulls == []
    # One that was there before is what somebody is at work on.
    filled.write(f"flyball/production/shop-{MARK}", PATH, FILE.replace("'a'", "'b'"))
    with pytest.raises(HostRefused):
        ask(filled)
    assert len(filled.branches()) == 2


def test_what_the_token_lacks_is_named(filled: Any):
    filled.breaks = lambda method, path: (403, {}, b"{}")
    needs = {
        "github": "contents: write.*pull-requests: write.*Settings",
        "gitlab": "role Developer.*scope `api`",
    }
    with pytest.raises(HostRefused, match=needs[filled.kind]):
        ask(filled)
    with pytest.raises(BadInput, match=r"_TOKEN is not set.*--print"):
        repository(filled, GITHUB_TOKEN="", GITLAB_TOKEN="a\nb")
    with pytest.raises(BadInput, match=r"GITHUB_REPOSITORY|CI_PROJECT_ID"):
        repository(filled, GITHUB_REPOSITORY="../x", CI_PROJECT_ID="../1")


def test_a_short_wait_asked_for_is_waited_once(filled: Any):
    filled.answers = [(429, {"Retry-After": "3"}, b"{}")]
    waited: list[float] = []
    assert ask(filled, waited=waited).state == "opened" and waited == [3]


def test_a_host_that_is_silent_costs_seconds_and_one_that_is_not_listed_gets_nothing(
    filled: Any, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(EgressRefused):
        ask_for(repository(filled, FLYBALL_EGRESS=""), wanted())
    assert filled.requests == []
    monkeypatch.setattr(exchange, "DEADLINE_SECONDS", 0.3)
    filled.delay_seconds = 1
    began = time.monotonic()
    with pytest.raises(HostUnavailable, match="did not answer"):
        ask(filled)
    assert time.monotonic() - began < 1


def test_the_token_goes_into_one_header_only(filled: Any):
    ask(filled)
    ask(filled, wanted(LATER, to="c"))
    for _, path, headers in filled.requests:
        assert TOKEN not in path
        assert [name for name, value in headers.items() if TOKEN in value] in (
            ["authorization"],
            ["private-token"],
        )
    assert TOKEN not in str(filled.pulls) and TOKEN not in filled.git("log", "--all", "--format=%B%an%ae")
