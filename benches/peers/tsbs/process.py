"""Processes that are measured: servers, and workers that hold an engine which lives inside its client."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Server:
    """A child on a folder of its own. It dies with this process, and is stopped by its process id."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | (environment or {}),
            )
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until(self, ready: Callable[[], Any], seconds: float = 60) -> Any:
        """What `ready` gives once it gives something; an error from it means not yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise OSError(f"the server ended with {self.process.returncode}: {tail(self.log)}")
            try:
                if found := ready():
                    return found
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the server is not ready after {seconds:.0f} s: {tail(self.log)}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])


class Worker:
    """A process with an engine inside. The engine times its own statements, so that the pipe is not in the figures."""

    def __init__(self, module: str, kind: str, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, module, kind, str(folder)), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def call(self, method: str, *arguments: Any) -> Any:
        self.pipe.send((method, arguments))
        good, value = self.pipe.recv()
        if not good:
            raise RuntimeError(value)
        return value

    def stop(self) -> None:
        try:
            self.pipe.send(None)
        except OSError:
            pass
        self.process.join(60)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def work(pipe: Any, module: str, kind: str, folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inside = getattr(importlib.import_module(module), kind)(Path(folder))
    while (message := pipe.recv()) is not None:
        method, arguments = message
        try:
            pipe.send((True, getattr(inside, method)(*arguments)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
    inside.close()


def peak_since(pid: int) -> Callable[[], int]:
    """Lets the kernel forget the highest memory of a process so far; the function tells bytes above what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    now = status(pid, "VmRSS")
    return lambda: max(0, status(pid, "VmHWM") - now)


def status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def forget_files(folder: Path) -> None:
    """Asks the kernel to drop the folder's files from memory, so that what comes next reads the disk. No root needed, and
    nobody else's files are touched."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_of(folder: Path) -> int:
    """What the files take; parts of a file that were never written do not."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
