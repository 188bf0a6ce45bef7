"""Child process: loads a bundle and answers rows. `python -m flyball.operations.answering payload.json result.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec


def main() -> None:
    """Read the payload (bundle folder, rows), write the predictions and scores."""
    from flyball.registry.bundle import read_folder_manifest
    from flyball.registry.formats.loading import load_predictor

    payload = msgspec.json.decode(Path(sys.argv[1]).read_bytes())
    folder = Path(payload["bundle"])
    predictor = load_predictor(folder, read_folder_manifest(folder), in_model_process=True)
    answers = predictor.predict_rows(payload["rows"])
    Path(sys.argv[2]).write_bytes(
        msgspec.json.encode({"predictions": list(answers.predictions), "scores": answers.scores})
    )


if __name__ == "__main__":
    main()
