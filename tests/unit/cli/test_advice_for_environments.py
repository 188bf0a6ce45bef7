"""A command that an error tells to type next is about the environment that the error is about."""

from __future__ import annotations

import pytest

from flyball.cli.advice import in_environment
from flyball.cli.main import flyball as root
from flyball.core.errors import ModelNotFound, NoChampion, told_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("`flyball models` lists them", "`flyball models --env live` lists them"),
        (
            "no; `flyball approve shop@2 --why …`, then again",
            "no; `flyball approve shop@2 --env live --why …`, then again",
        ),
        ("`flyball rollout abort shop`", "`flyball rollout abort shop --env live`"),
        ("`flyball run show run_1` shows it", "`flyball run show run_1 --env live` shows it"),
        ("`flyball incidents --model shop`", "`flyball incidents --env live --model shop`"),
        ("`flyball runs` lists them", "`flyball runs --env live` lists them"),
    ],
)
def test_an_advised_command_names_the_environment(text: str, told: str):
    assert in_environment(text, "live", root) == told
    assert in_environment(text, None, root) == text


@pytest.mark.parametrize(
    "text",
    [
        "`flyball deploy shop --env staging` comes first",  # it names one
        "`flyball run` makes one",  # done in the project, whatever the environment
        "`flyball ci` compares them; `pip install flyball`",
        "`flyball undeploy shop`",
        "flyball models",
        "an odd ` and flyball models",
    ],
)
def test_what_names_an_environment_takes_none_or_is_no_command_stays_as_it_is(text: str):
    assert in_environment(text, "live", root) == text


def test_an_error_tells_of_the_environment_that_was_being_read_when_it_arose():
    with pytest.raises(NoChampion) as found, told_of("production"), told_of("staging"):
        raise NoChampion("shop")
    assert found.value.environment == "staging"
    with pytest.raises(ModelNotFound) as found_here, told_of(None):
        raise ModelNotFound("shop")
    assert found_here.value.environment is None
