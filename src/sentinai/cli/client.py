"""How do commands reach the API: where it is, with which key, and what its errors mean?"""

import json
import os
from typing import Any

import httpx

from sentinai.cli.serve import KEY_FILE
from sentinai.errors import Problem, Rejected, Unavailable
from sentinai.models.json import Json
from sentinai.settings import load_settings

TIMEOUT_S = 30.0


class ApiError(Rejected):
    """The API said no; its problem document, told plainly."""


class Client:
    """`key` is a name in the key file of `sentinai up` (key, approver_key, platform_key) when SENTINAI_SECRET_API_KEY
    is not set."""

    def __init__(self, key: str = "key") -> None:
        settings = load_settings()
        base = f"http://{settings.api_host}:{settings.api_port}"
        secret = os.environ.get("SENTINAI_SECRET_API_KEY")
        key_file = settings.data_dir / KEY_FILE
        if secret is None and key_file.is_file():
            secret = json.loads(key_file.read_text())[key]
        if secret is None:
            raise Rejected("No API key: set SENTINAI_SECRET_API_KEY, or run this where `sentinai up` keeps its data.")
        headers = {"X-API-Key": secret}
        self._http = httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def call(self, method: str, path: str, **options: Any) -> Json:
        """The decoded answer. Raises ApiError for a problem document, Unavailable when nobody answers."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"No answer from {self._http.base_url}: is it running (`sentinai up`)? {type(error).__name__}"
            ) from error
        content = response.json() if response.content else {}
        if response.is_success:
            return content
        problems = [Problem(e["pointer"], e["detail"], e["line"], e["column"]) for e in content.get("errors", [])]
        raise ApiError(f"{response.status_code} {content.get('title')}: {content.get('detail')}", problems=problems)

    def get(self, path: str, **parameters: Any) -> Json:
        return self.call("GET", path, params={k: v for k, v in parameters.items() if v is not None})

    def post(self, path: str, body: Json = None) -> Json:
        return self.call("POST", path, json=body if body is not None else {})
