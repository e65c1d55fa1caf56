"""``--image``: what a person wants to run for an image, read and unpacked before anything starts.

Forms: ``GLOB=COMMAND``; ``GLOB=rootfs:DIR [COMMAND]``; ``GLOB=oci:PATH[:TAG]``; ``GLOB=archive:PATH[:TAG]``; without
``GLOB=`` the last two map the names the image itself has.
"""

import shlex
from pathlib import Path

from podwire.base import EnvironmentUnfit, PodwireError
from podwire.cluster.home import home_path
from podwire.snapshot import ImageRule, ImageRun

_KINDS = ("oci:", "archive:")


def parse_image_rules(text: str) -> tuple[ImageRule, ...]:
    """The rules of one ``--image``. Raises :class:`EnvironmentUnfit` with what to write instead."""
    if text.startswith(_KINDS):
        return _image_rules("", text)
    glob, _, what = text.partition("=")
    if glob and what.startswith(_KINDS):
        return _image_rules(glob, what)
    if glob and what.startswith("rootfs:"):
        return (_rootfs_rule(glob, what.removeprefix("rootfs:")),)
    argv = tuple(shlex.split(what))
    if not glob or not argv:
        raise EnvironmentUnfit(
            f"--image {text!r}: write GLOB=COMMAND, for example 'nginx*=python3 -m http.server 80', "
            "GLOB=rootfs:DIR, GLOB=oci:PATH or GLOB=archive:PATH"
        )
    return (ImageRule(glob, argv),)


def _rootfs_rule(glob: str, what: str) -> ImageRule:
    words = shlex.split(what)
    folder = Path(words[0]).resolve() if words else Path()
    if not words or not folder.is_dir():
        raise EnvironmentUnfit(f"--image {glob}=rootfs:{what}: there is no such folder")
    return ImageRule(glob, (), f"the root file system {folder}", run=ImageRun((str(folder),), (), tuple(words[1:])))


def _image_rules(glob: str, what: str) -> tuple[ImageRule, ...]:
    from podwire.node.images import load_image

    location = what.partition(":")[2]
    try:
        image = load_image(location, home_path() / ".layers")
    except (PodwireError, OSError) as error:
        raise EnvironmentUnfit(f"--image {what}: {error}") from error
    globs = (glob,) if glob else image.names
    if not globs:
        raise EnvironmentUnfit(f"--image {what}: the image has no name of its own; write GLOB={what}")
    run = ImageRun(image.layers, image.entrypoint, image.command, image.env, image.working_dir, image.user)
    return tuple(ImageRule(g, (), f"the image of {location}", run=run) for g in globs)
