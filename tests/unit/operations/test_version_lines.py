"""The one line of a deployments file that a proposal changes."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.errors import BadInput
from flyball.operations.planning.version_line import change_version

OLD, OTHER, NEW = ("sha256:" + digit * 64 for digit in "1ab")

HEADS = [
    '[deployments.shop]\nversion = "{}"\n',
    "[deployments.shop]\nversion='{}'# why: \"{}\"\n",
    '[deployments."shop"]\nwhy = "{}"\n"version" = "{}" # {}\n',
    'deployments.shop.version = "{}"\n',
    '[deployments]\nshop = {{ why = "{}", version = "{}" }}\n',
    '[deployments]\nshop = {{ version = "{}", why = \'{}\' }}  # "{}"\n',
    '[ deployments . shop ]\n  version   =   "{}"\t# version = "{}"\n',
    '[deployments]\nshop.version = "{}"\nshop.why = "{}"\n',
    '[deployments.shop]\nwhy = """\nversion = "{}"\n"""\nversion = "{}"\n',
]
OTHERS = [
    "",
    f'[deployments.shop-eu]\nversion = "{OLD}"\n',
    f'# [deployments.shop]\n# version = "{OLD}"\n\n',
    f"[deployments.churn]\nwhy = 'version = \"{OLD}\"'\nversion = '{OLD}'\n",
]


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str]:
    """A deployments file and the version that it names for shop."""
    old = draw(st.sampled_from([OLD, OLD[:19], OLD[7:19], "champion of staging"]))
    head = draw(st.sampled_from(HEADS))
    text = head.format(*[old] * head.count("{}"))
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique=True))
    if text.startswith("["):  # after a header, dotted keys would be that table's
        tables = draw(st.permutations([*others, text]))
        if "[deployments]\n" in text:  # a table can't be opened again once one below it is
            tables = [text, *others]
    else:
        tables = [text, *others]
    environment = draw(st.sampled_from(["", 'environment = "production"\n', "environment='live' # here\n"]))
    comment = draw(st.sampled_from(["", "# é ✓ — what is in service\n", f'# version = "{old}"\n']))
    whole = comment + environment + "".join(tables)
    if draw(st.booleans()):
        whole = whole.replace("\n", "\r\n")
    if draw(st.booleans()):
        whole = whole.rstrip("\r\n")
    return whole, old


@given(files())
def test_one_value_changes_and_every_other_byte_stays(given_file: tuple[str, str]):
    text, old = given_file
    before = tomllib.loads(text)
    changed = change_version(text, "shop", NEW)
    after = tomllib.loads(changed)
    assert after["deployments"]["shop"].pop("version") == NEW
    assert before["deployments"]["shop"].pop("version") == old
    assert after == before
    # Taken back, it is the same file: comments, quotes, blanks and line ends.
    at = changed.index(NEW)
    assert changed.count(NEW) == 1 and changed[:at] + old + changed[at + len(NEW) :] == text
    assert change_version(changed, "shop", NEW) == changed


@pytest.mark.parametrize(
    "line",
    [
        'version = "\\u0073ha256:' + "1" * 64 + '"',
        'version = """\n' + OLD + '"""',
        "version = '''\n" + OLD + "'''",
    ],
)
def test_what_cannot_be_changed_safely_is_said_with_the_line_to_write(line: str):
    with pytest.raises(BadInput, match="by hand") as error:
        change_version(f"[deployments.shop]\n{line}\n", "shop", NEW)
    assert f'version = "{NEW}"' in error.value.message
