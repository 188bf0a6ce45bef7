"""One sentence for the author of a change: what to do next."""

from __future__ import annotations

from flyball.operations.ci.report import CiReport


def what_to_do(report: CiReport) -> str:
    """The next step that a report asks for, by its outcome and by the stage that decided it."""
    stage = next((stage for stage in report.stages if stage.outcome == report.outcome), None)
    name = "" if stage is None else stage.name
    if report.outcome == "pass":
        if report.version is None:
            return "Merge when you like."
        ref = f"{report.model}@{report.version}"
        if not report.registered:
            return f"Nothing about the model changes: {ref} stands as it is, so merge when you like."
        return (
            f"Merge when you like; {ref} is what was tested, and `flyball deploy {ref}` starts its rollout."
        )
    if report.outcome == "inconclusive":
        return "Bring more held-out rows, or ask less of what is not decided: too little was seen to say yes or no."
    if name == "checks":
        return "Mend what the check found, at the lines that are marked; `flyball check` repeats it on your machine."
    if name == "own tests":
        return (
            "Mend what the project's own tests found; `flyball test` repeats them, and nothing was trained."
        )
    if report.outcome == "broken":
        if report.run_id is not None:
            return f"Mend what broke; `flyball runs logs {report.run_id}` prints what the run said."
        return "Mend what broke and run the check again; it says nothing about the model."
    if name in ("gates", "model tests"):
        return f"Improve the model until its {name} pass, or change them in this change with a reason."
    return "Mend what is named above; the model was not judged."
