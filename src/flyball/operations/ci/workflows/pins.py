"""What the workflows use of others, each by its content: actions by commit, the image by digest."""

from __future__ import annotations

CHECKOUT = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"
CACHE = "actions/cache@cdf6c1fa76f9f475f3d7449005a359c84ca0f306 # v5.0.3"
UPLOAD = "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1"
DOWNLOAD = "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1"
SETUP_UV = "astral-sh/setup-uv@08807647e7069bb48b6ef5acd8ec9567f424441b # v8.1.0"
UV_VERSION = "0.11.16"

# Debian with git, bash, Python 3.12 and uv 0.9.30.
IMAGE = (
    "ghcr.io/astral-sh/uv:0.9.30-python3.12-bookworm"
    "@sha256:85d4cb1afa769a7338e095b927bee941cf5ec92266c7424b3f6c0f2748567248"
)
