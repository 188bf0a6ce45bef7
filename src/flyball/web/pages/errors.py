"""What goes wrong, as a page."""

from __future__ import annotations

from flyball.web.pages.rendering import render
from flyball.web.problems import TITLES, Problem


def error_page(problem: Problem, request_id: str, again: str = "") -> str:
    """A problem as a page of the console. again: the path to ask for again, where that may help."""
    title = TITLES.get(problem.status, "Error")
    return render(
        "error.html", problem=problem, problem_title=title, request_id=request_id, again=again, place=""
    )
