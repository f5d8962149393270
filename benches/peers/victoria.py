"""VictoriaMetrics: a server of its own, on a loopback port, stopped by its process id."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fleet import Fleet, Measured

PACKAGE = "victoria-metrics"
# Its caches of names are kept beside the data and say nothing about what data takes.
DATA_FOLDERS = ("data", "indexdb", "metadata")


def find(folder: Path) -> Path:
    """The installed program, or the one of Debian's package, unpacked here: that needs no root and starts no service."""
    installed = shutil.which(PACKAGE)
    if installed:
        return Path(installed)
    if not shutil.which("apt-get"):
        raise FileNotFoundError(f"{PACKAGE} is not installed, and there is no apt-get to fetch it")
    package = folder / "package"
    unpacked = package / "unpacked/usr/bin" / PACKAGE
    if unpacked.exists():
        return unpacked
    package.mkdir(exist_ok=True)
    run(["apt-get", "download", PACKAGE], package)
    run(["dpkg", "-x", *(str(path) for path in package.glob("*.deb")), "unpacked"], package)
    return unpacked


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command[:2])}: {done.stderr.strip().splitlines()[-1:]}")


def version_of(program: Path) -> str:
    """Debian's build does not tell its version, but its package does."""
    told = re.search(r"v(\d+\.\d+\.\d+)", output_of([str(program), "--version"]))
    if told:
        return told[1]
    unpacked = next(program.parents[3].glob("*.deb"), None) if "unpacked" in program.parts else None
    version = unpacked.name.split("_")[1] if unpacked else output_of(["dpkg-query", "-W", "-f=${Version}", PACKAGE])
    return version.split("+")[0] or "of an unknown version"


def output_of(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def measure_victoria(fleet: Fleet, folder: Path) -> Iterator[Measured]:
    """One series an asset and column, imported as JSON, merged, and weighed once the server has stopped."""
    program = find(folder)
    data = folder / "victoria"
    with server(program, data) as address:
        for asset in range(len(fleet.rows_by_asset)):
            request(f"{address}/api/v1/import", "".join(series(fleet, asset)).encode())
        request(f"{address}/internal/force_flush")
        rows_back = compare(fleet, address)
        request(f"{address}/internal/force_merge")
        wait_for_merges(address)
    size = sum(path.stat().st_size for name in DATA_FOLDERS for path in (data / name).rglob("*") if path.is_file())
    yield Measured(f"VictoriaMetrics {version_of(program)}", size, None, rows_back)


@contextmanager
def server(program: Path, data: Path) -> Iterator[str]:
    """Runs it and gives its address; SIGTERM lets it write what it has in memory."""
    port = free_port()
    environment = os.environ | {"GOMAXPROCS": "1"}
    with open(data.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen([program, *arguments(port, data)], stdout=log, stderr=log, env=environment)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def arguments(port: int, data: Path) -> list[str]:
    # The rows may be of years ago, which a month's retention would drop.
    return [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={data}", "-retentionPeriod=100y"]


def wait_until_ready(address: str, process: subprocess.Popen) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise OSError(f"the server ended with {process.returncode}")
        try:
            request(f"{address}/health")
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def wait_for_merges(address: str) -> None:
    """The call only begins them."""
    for _ in range(240):
        time.sleep(0.5)
        metrics = request(f"{address}/metrics").decode().splitlines()
        active = [line for line in metrics if line.startswith(("vm_active_force_merges", "vm_active_merges"))]
        if all(float(line.split()[-1]) == 0 for line in active):
            return
    raise TimeoutError("merges do not end")


def request(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=300) as answer:
        return answer.read()


def span(fleet: Fleet, asset: int) -> slice:
    start = sum(fleet.rows_by_asset[:asset])
    return slice(start, start + fleet.rows_by_asset[asset])


def columns_of(fleet: Fleet, asset: int) -> dict[str, np.ndarray]:
    rows = span(fleet, asset)
    return {name: fleet.table.column(name).to_numpy()[rows] for name in fleet.table.column_names}


def series(fleet: Fleet, asset: int) -> Iterator[str]:
    """The lines of an import; its times are milliseconds, which the rows have no parts of."""
    columns = columns_of(fleet, asset)
    times = (columns["time"].astype("datetime64[us]").astype(np.int64) // 1000).tolist()
    for name in fleet.value_columns:
        metric = {"__name__": name, "asset": str(asset)}
        yield json.dumps({"metric": metric, "values": columns[name].tolist(), "timestamps": times}) + "\n"


def compare(fleet: Fleet, address: str) -> str:
    """Exports every series. It keeps decimals, and of long ones not the last digits: those floats come back near, not same."""
    seen, differing, worst = 0, 0, 0.0
    for asset in range(len(fleet.rows_by_asset)):
        want = columns_of(fleet, asset)
        query = f"match[]=%7Basset%3D%22{asset}%22%7D&start=0"
        for line in request(f"{address}/api/v1/export?{query}").splitlines():
            got = json.loads(line)
            values = want[got["metric"]["__name__"]].astype(np.float64)
            back = np.array(got["values"], dtype=np.float64)
            millis = want["time"].astype("datetime64[ms]").astype(np.int64)
            if not np.array_equal(millis, np.array(got["timestamps"])):
                raise AssertionError(f"times of {got['metric']} differ")
            seen += len(back)
            differing += int(np.count_nonzero(values != back))
            worst = max(worst, float(np.max(np.abs(values - back) / np.maximum(np.abs(values), 1e-300))))
    if seen != fleet.points or worst > 1e-11:
        raise AssertionError(f"{seen} points came back of {fleet.points}, off by up to {worst:.1e} of their value")
    return f"{differing / seen:.1%} differ, by up to {worst:.0e} of the value" if differing else "exact"
