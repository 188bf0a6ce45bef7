"""The code hosts that workflows can be written for. Light: commands name them before anything is loaded."""

from __future__ import annotations

# By host, where its secrets and variables are kept.
PLACES = {
    "github": "Settings > Secrets and variables > Actions",
    "gitlab": "Settings > CI/CD > Variables",
    "azure": "the pipeline's Variables",
    "jenkins": "Manage Jenkins > Credentials, as secret texts",
}
HOSTS = tuple(PLACES)
