"""Attachments on disk: they outlive podwire, as the containers do.

Rules:

1. Whoever changes the file holds the lock beside it: a running podwire for as long as it runs, else the plugin for the
   length of one command.
2. The file is replaced as a whole; a file that does not parse is an error that names it, never silently an empty one.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from podwire.base import PodwireError
from podwire.node.attach_words import LOCK_NAME, STORE_NAME, WIRES_NAME, Attachment
from podwire.node.wires import Record


class AttachmentStore:
    """The file of one cluster."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is opened yet."""
        self._path = state_dir / STORE_NAME
        self._wires = state_dir / WIRES_NAME
        self._lock_path = state_dir / LOCK_NAME
        self._lock: int | None = None

    def hold(self, *, wait: bool = True) -> bool:
        """Take the lock; without ``wait`` False when somebody has it."""
        if self._lock is not None:
            return True
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> list[Attachment]:
        """What is attached. Raises :class:`PodwireError` for a broken file."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Attachment])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise PodwireError(f"{self._path} does not parse ({error}); move it away to start without it") from error

    def save(self, attachments: Iterable[Attachment]) -> None:
        """Replace everything. The lock must be held."""
        _replace(self._path, msgspec.json.encode(sorted(attachments, key=lambda a: a.key)))

    def load_wires(self) -> Record | None:
        """The wires that were saved; None without any that this version understands."""
        try:
            return msgspec.json.decode(self._wires.read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save_wires(self, record: Record) -> None:
        """Replace what is known of the wires. The lock must be held."""
        _replace(self._wires, msgspec.json.encode(record))


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(fresh, path)
