"""A headless Chromium that opens one page, runs its scripts and tells what became of it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

# Nothing but the page is asked of the network; every name leads to this machine.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--virtual-time-budget=5000",
)
SECONDS = 60


def chromium_binary() -> str | None:
    return shutil.which("chromium")


@dataclass(frozen=True)
class Chromium:
    """One profile: what pages store stays there from one opening to the next."""

    profile: Path

    async def open(self, url: str) -> str:
        """The document as it stands once its scripts have run."""
        binary = chromium_binary()
        assert binary is not None
        process = await asyncio.create_subprocess_exec(
            binary,
            *FLAGS,
            f"--user-data-dir={self.profile}",
            "--dump-dom",
            url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return output.decode()
