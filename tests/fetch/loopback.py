"""Origins on loopback: a git repository made commit by commit, a folder served over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path


class GitRepository:
    """A repository made by the git program, one commit at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *arguments: str) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@b.example", f"GIT_{role}_DATE": "1700000000 +0200"}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes], tag: str = "", *, annotated: bool = False) -> str:
        """``files``: a name that ends in ``*`` is executable; a text that starts with ``->`` is a link."""
        for name, content in files.items():
            path = self.path / name.rstrip("*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("->"):
                path.symlink_to(content[2:])
                continue
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o755 if name.endswith("*") else 0o644)
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", tag or "more")
        if tag:
            self.git("tag", *(["-a", "-m", tag] if annotated else []), tag)
        return self.git("rev-parse", "HEAD")

    @property
    def url(self) -> str:
        return f"file://{self.path}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def files_of(folder: Path) -> type[BaseHTTPRequestHandler]:
    """A handler that gives out a folder's files, and nothing clever."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(folder), **options)  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    return Files
