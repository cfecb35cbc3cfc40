"""A real PostgreSQL server for the tests: its own data, a Unix socket, no port."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

OLDEST = 15
_numbers = itertools.count()


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL here that is new enough."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and _release(folder) >= OLDEST:
            return folder
    return None


class Server:
    """A running server.

    Args:
      folder: Where it lives; it belongs to whoever runs the server.
      settings: Of the server, beyond the default ones.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        found = binaries()
        if found is None:
            raise RuntimeError(f"no PostgreSQL {OLDEST} or later here")
        self.folder = folder
        self._run_as = _unprivileged()
        if self._run_as is not None:
            os.chown(folder, self._run_as.pw_uid, self._run_as.pw_gid)
        data = folder / "data"
        options = ["--username=sytff", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._call([str(found / "initdb"), *options, "--no-sync", "-D", str(data)])
        wanted = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "max_connections": "200",
            **(settings or {}),
        }
        flags = [part for name, value in wanted.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(found / "postgres"), "-D", str(data), *flags],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                **self._identity(),
            )
        ready = [str(found / "pg_isready"), "-h", str(folder), "-U", "sytff", "-d", "postgres"]
        while subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode:
            if self._process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://sytff@/{database}?host={self.folder}"

    def database(self) -> str:
        """URL of a new, empty database."""
        import psycopg

        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self.connect() as connection:
            connection.autocommit = True
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(_name(name)))
        return self.url(name)

    def connect(self, database: str = "postgres"):  # type: ignore[no-untyped-def]
        """A connection that no ledger made."""
        import psycopg

        return psycopg.connect(host=str(self.folder), user="sytff", dbname=database)

    def stop(self) -> None:
        """Stops the server at once."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def _call(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def _identity(self) -> dict:  # type: ignore[type-arg]
        if self._run_as is None:
            return {}
        return {"user": self._run_as.pw_uid, "group": self._run_as.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def running(settings: dict[str, str] | None = None) -> Iterator[Server]:
    """A server in a folder of its own, gone on leaving."""
    # Not below pytest's folders: only their owner may enter those, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="sytff-pg-"))
    try:
        server = Server(folder, settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _name(name: str):  # type: ignore[no-untyped-def]
    import psycopg

    return psycopg.sql.Identifier(name)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("root needs a user postgres or nobody to run PostgreSQL as")


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _release(folder: Path) -> int:
    done = subprocess.run(
        [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    return int(words[2].split(".")[0]) if len(words) > 2 and words[2][0].isdigit() else 0
