"""What a container leaves as its termination message: a file it may write, else the end of its output.

Source: kubernetes ``pkg/kubelet/kuberuntime/kuberuntime_container.go`` (4096 bytes of the file; 2048 bytes or 80 lines
of the log when it failed and the policy is FallbackToLogsOnError).
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

from podwire.node.logs import RunLog

FILE_BYTES: Final = 4096
LOG_BYTES: Final = 2048
LOG_LINES: Final = 80


def ensure_message_file(folder: Path, container: str, run: int) -> str:
    """An empty file for one run, writable for whoever the program runs as; the file of the run before is removed."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    for old in folder.glob(f"{container}.*"):
        old.unlink()
    file = folder / f"{container}.{run}"
    file.touch()
    file.chmod(0o666)
    return str(file)


def read_message(file: str) -> str:
    """What the container wrote; empty when nothing."""
    with suppress(OSError), open(file, "rb") as message:
        return message.read(FILE_BYTES).decode(errors="replace")
    return ""


async def tail_message(log: RunLog) -> str:
    """The last lines of a run's output."""
    lines: list[bytes] = []
    async for _, _, line in log.read(follow=False):
        lines.append(line)
        del lines[:-LOG_LINES]
    return b"".join(lines)[-LOG_BYTES:].decode(errors="replace")
