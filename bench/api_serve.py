"""``python -m bench.api_serve DIR PORT``: podwire's API server alone, durable, until it is told to stop."""

import asyncio
import signal
import sys
from pathlib import Path

from bench.api_client import TOKEN
from podwire.apiserver import ApiServer, ApiSettings


async def main(directory: Path, port: int) -> None:
    """Serve."""
    server = ApiServer(ApiSettings(directory=directory / "api", port=port, token=TOKEN))
    await server.start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
