"""Read from MLflow's REST API without importing MLflow, which takes two seconds of a CPU.

The API is MLflow's documented one, version 2.0; writes use its client
(:mod:`ray_cluster.registry.mlflow_client`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from configs.errors import HeadraceError
from configs.settings import Settings

__all__ = ["MissingError", "ServerError", "files", "read"]

#: Seconds before each further attempt, while the server does not answer or is overloaded.
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
_TIMEOUT = 60.0


class MissingError(HeadraceError, LookupError):
    """MLflow has no such object, or the name of one is invalid."""


class ServerError(HeadraceError, RuntimeError):
    """MLflow does not answer, or refuses a request; the message says what to do."""


def read(settings: Settings, endpoint: str, search: Mapping[str, Any] | None = None, /, **given: Any) -> dict[str, Any]:
    """The answer of ``api/2.0/mlflow/<endpoint>`` to a GET with these parameters, or to a POST of ``search``.

    Raises:
        MissingError: there is no such object.
        ServerError: the server does not answer.
    """
    method = "GET" if search is None else "POST"
    return dict(_asked(settings, method, f"mlflow/{endpoint}", params=given, json=search).json())


def files(settings: Settings, run_id: str, folder: str, only: str | None = None) -> dict[str, bytes]:
    """The files in a folder of a run, by name, without those in folders below it; empty if there is no such folder.

    ``only``: of these the one with this name.

    Raises:
        MissingError: there is no such run.
        ServerError: the server does not answer.
    """
    listed = read(settings, "artifacts/list", run_id=run_id, path=folder)
    root = urlsplit(listed["root_uri"]).path.strip("/")  # of mlflow-artifacts:/<experiment>/<run>/artifacts
    paths = [PurePosixPath(each["path"]) for each in listed.get("files", []) if not each.get("is_dir")]
    return {
        path.name: _asked(settings, "GET", f"mlflow-artifacts/artifacts/{root}/{path}").content
        for path in paths
        if only in (None, path.name)
    }


def _asked(settings: Settings, method: str, endpoint: str, **given: Any) -> Any:
    """The answer of the server, which may be starting."""
    import httpx

    url, why = f"{settings.url('mlflow')}/api/2.0/{endpoint}", ""
    with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
        for pause in (*_PAUSES, None):
            try:
                answer = client.request(method, url, **given)
            except httpx.TransportError as error:
                why = f"does not answer ({type(error).__name__})"
            else:
                if answer.status_code < 400:
                    return answer
                code, said = _error(answer)
                if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise MissingError(said)
                why = f"answers {answer.status_code}: {said[:200]}"
                if answer.status_code < 500 and answer.status_code != 429:
                    break
            if pause is not None:
                time.sleep(pause)
    raise ServerError(f"MLflow at {settings.url('mlflow')} {why}; `headrace status` shows the servers.")


def _error(answer: Any) -> tuple[str, str]:
    try:
        content = answer.json()
    except ValueError:
        return "", str(answer.text)
    return str(content.get("error_code", "")), str(content.get("message", ""))
