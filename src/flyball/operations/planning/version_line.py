"""Another version in the text of a deployments file: one string changes, everything else stays byte for byte."""

from __future__ import annotations

import copy
import re
import tomllib

from flyball.core.errors import BadInput
from flyball.pipelines.positions import find_lines


def change_version(text: str, model: str, digest: str) -> str:
    """The text in which [deployments.MODEL] names a digest; the same text where it does already.

    What results is parsed and has to say the same as before but for that one value. Raises BadInput, with the line to
    write by hand, where no single string can be changed so: one that is escaped, or stands on several lines.
    """
    document = tomllib.loads(text)
    old = document["deployments"][model]["version"]
    if old == digest:
        return text
    wanted = copy.deepcopy(document)
    wanted["deployments"][model]["version"] = digest
    number = find_lines(text).get(("deployments", model, "version"))
    lines = text.split("\n")
    if number is not None and isinstance(old, str):
        line = lines[number - 1]
        for found in re.finditer(rf"""(?<=["']){re.escape(old)}(?=["'])""", line):
            lines[number - 1] = line[: found.start()] + digest + line[found.end() :]
            changed = "\n".join(lines)
            if _parsed(changed) == wanted:
                return changed
    raise BadInput(
        f"the version of {model} is written in a way that can't be changed safely; write it on one line by hand: "
        f'version = "{digest}"',
        model=model,
        line=number,
    )


def _parsed(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
