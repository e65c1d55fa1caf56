"""A Kubernetes API over HTTP: lists for questions, and the streams ``exec`` needs."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import aiohttp

from podwire.base import PodwireError
from podwire.client.kubeconfig import Access
from podwire.client.source import ApiError
from podwire.kube import KINDS, Kind

PAGE = 500


class Unreachable(PodwireError):
    """The API server does not answer."""


class RestClient:
    """One session. Use as an asynchronous context manager."""

    def __init__(self, access: Access) -> None:
        """Nothing is opened before the context is entered."""
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "RestClient":
        """Open the session."""
        headers = {"Authorization": f"Bearer {self._access.token}"} if self._access.token else {}
        connector = aiohttp.TCPConnector(ssl=self._access.tls if self._access.tls is not None else False)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        assert self._session is not None
        return self._session

    def url(self, path: str) -> str:
        """An absolute URL."""
        return self._access.server + path

    async def get(self, path: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        """A JSON object. Raises :class:`ApiError` or :class:`Unreachable`."""
        try:
            async with self.session.get(self.url(path), params=params) as response:
                value: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"{self._access.server}: {error}") from error
        if value.get("kind") == "Status" and value.get("status") == "Failure":
            raise ApiError(value)
        return value

    async def list_kind(self, kind: Kind) -> list[dict[str, Any]]:
        """Every object of a kind in all namespaces, with kind and apiVersion filled in."""
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            params = {"limit": str(PAGE), **({"continue": token} if token else {})}
            page = await self.get(f"{root}/{kind.plural}", params)
            items.extend(
                {**item, "kind": kind.name, "apiVersion": kind.api_version} for item in page.get("items") or ()
            )
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return items

    async def list_kinds(self, names: Iterable[str]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Objects of several kinds, and in words which kinds could not be read (a 403 must not stop the question)."""
        objects: list[dict[str, Any]] = []
        missing: list[str] = []
        for name in names:
            try:
                objects.extend(await self.list_kind(KINDS[name]))
            except ApiError as error:
                if error.code not in (403, 404):
                    raise
                missing.append(f"{name}: {error}")
        return objects, tuple(missing)
