"""A hundred dashboards at once: each client has a connection of its own and refreshes a page of panels."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np

from tsbs.questions import questions
from tsbs.rows import Workload
from tsbs.wattline import Wattline

CLIENTS = 100
PANELS = ["single-groupby-1-1-1"] * 3 + ["single-groupby-5-8-1"] * 2 + ["cpu-max-all-8"]
# A page is refreshed this often by those who look at it; the others ask again as soon as they have their answer.
REFRESH_SECONDS = 5.0
# Asks of each panel before the clock starts: the server was just started.
WARM_UP = 20


@dataclass(frozen=True)
class Dashboards:
    """What its clients saw; `rate` is of statements, all clients together."""

    what: str
    seconds: list[float]
    refused: int
    rate: float

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share)) if self.seconds else float("nan")


def dashboards(engine: Wattline, workload: Workload, seed: int, seconds: float) -> list[Dashboards]:
    for panel in PANELS:
        for question in questions(workload, panel, WARM_UP, seed):
            engine.ask(engine.statement(question))
    paced = asyncio.run(clients(engine, workload, seed, seconds, REFRESH_SECONDS))
    closed = asyncio.run(clients(engine, workload, seed + 1, seconds, 0.0))
    page = f"{len(PANELS)} panels every {REFRESH_SECONDS:.0f} s"
    return [Dashboards(page, *paced), Dashboards("without a pause", *closed)]


async def clients(
    engine: Wattline, workload: Workload, seed: int, seconds: float, every: float
) -> tuple[list[float], int, float]:
    taken: list[float] = []
    refused: list[bytes] = []
    pages = {query: questions(workload, query, CLIENTS * 4, seed) for query in set(PANELS)}
    chance = np.random.default_rng([seed, 4])
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port, limit=1 << 24)
        await asyncio.sleep(every * number / CLIENTS)
        while (began := time.monotonic()) < end:
            for panel in PANELS:
                question = pages[panel][chance.integers(0, len(pages[panel]))]
                started = time.perf_counter()
                writer.write(engine.statement(question))
                status = await answer(reader)
                taken.append(time.perf_counter() - started)
                if status != b"200":
                    refused.append(status)
            await asyncio.sleep(max(0.0, began + every - time.monotonic()))
        writer.close()

    started = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return taken, len(refused), len(taken) / (time.monotonic() - started)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Reads an answer to its end; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.find(b"content-length:")
    if at >= 0:
        await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
    else:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return head.split(b" ", 2)[1]
