"""The error tree for *the world failed*.

The user's wrong input is never one of these: that is a :class:`podwire.base.Finding` value. A bug of ours is any
other exception.
"""


class PodwireError(Exception):
    """The world refused: the kernel, a socket, a process, a remote API.

    ``retryable`` says whether the same call may succeed later without anybody changing its input.
    """

    retryable = True


class EnvironmentUnfit(PodwireError):
    """This machine lacks something (privilege, kernel feature, binary). The message names it and the fix."""

    retryable = False


class Conflict(PodwireError):
    """Somebody else changed the thing first; look again and decide anew."""
