"""What all tests share: a clean environment, repeatable properties, and Chromium or a loud word."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

BROWSER_REQUIRED = os.environ.get("FLYBALL_REQUIRE_BROWSER") == "1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = "Chromium is not installed (Debian: apt-get install chromium)"

settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A developer's own home, server or token must never be what a test works on, and what a runner says of its own job, or
# a hook of its repository, never what a test is told: here and on every host the tests see the same.
_FOREIGN_PREFIXES = ("FLYBALL_", "GIT_", "GITHUB_", "GITLAB_", "CI_", "BUILD_", "AWS_")
_FOREIGN = {"CI", "TF_BUILD", "JENKINS_URL", "FORCE_COLOR", "NO_COLOR"}
for _name in [name for name in os.environ if name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES)]:
    if _name != "FLYBALL_REQUIRE_BROWSER":
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    # Fixtures that many folders share. By path, because tests are no package.
    for path in sorted((Path(__file__).parent / "plugins").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"flyball_tests_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        config.pluginmanager.register(module, spec.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") is None or CHROMIUM is not None:
        return
    if BROWSER_REQUIRED:
        pytest.fail(f"{NO_CHROMIUM}, and FLYBALL_REQUIRE_BROWSER=1 requires the browser tests", pytrace=False)
    pytest.skip(NO_CHROMIUM)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NO_CHROMIUM in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_sep("!", f"{len(skipped)} BROWSER TESTS NOT RUN", red=True, bold=True)
        terminalreporter.write_line(
            f"{NO_CHROMIUM}. FLYBALL_REQUIRE_BROWSER=1 turns the skip into a failure."
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by playwright, one per file. Mark what uses it with `browser`.

    Not longer: while playwright runs, this thread has a running event loop, which other tests do not expect.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page with cookies of its own; fails the test on any uncaught error of a script."""
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert not problems, f"errors in the page's scripts: {problems}"
