"""The Serve application of one model: a replica with a reader, the live version and the HTTP routes."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from configs.model import Expired, ModelSpec, Requests, Serving
from configs.reading import Frozen
from configs.settings import Settings, load_settings
from feature_repo.materialization.view_files import state

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

    from ray_cluster.serving.predictor import Prediction
    from ray_cluster.serving.routes import ModelFacts

__all__ = [
    "view_versions",
    "AppArgs",
    "DEPLOYMENT",
    "Endpoint",
    "build",
]

#: Seconds for which the result of a read is cached; a view's code changes with a release, not with a request.
_FRESH = 2.0


def view_versions(settings: Settings, views: Sequence[str]) -> Callable[[], Mapping[str, str | None]]:
    """A function that returns view -> fingerprint of its code, None if the view was never materialized."""
    held: tuple[float, Mapping[str, str | None]] = (float("-inf"), {})

    def read() -> Mapping[str, str | None]:
        nonlocal held
        if time.monotonic() - held[0] > _FRESH:
            found = {view: state(settings, view) for view in views}
            held = (time.monotonic(), {view: each.online_code if each else None for view, each in found.items()})
        return held[1]

    return read


logger = logging.getLogger(__name__)

#: Name of the Serve deployment inside every model's application.
DEPLOYMENT = "Endpoint"


class AppArgs(Frozen):
    """Arguments of an application: the part of a model's specification that requests depend on.

    ``reader`` and ``loader`` are import paths: ``reader(settings, feature_service)`` returns an online reader,
    ``loader(settings, model, version)`` returns a loaded version.
    """

    model: str
    description: str
    feature_service: str
    requests: Requests
    max_rows: int
    max_body_bytes: int
    expired: dict[str, Expired] = {}
    reader: str = "feature_repo.online.reader:OnlineReader"
    loader: str = "ray_cluster.registry:load_version"

    @classmethod
    def of(cls, spec: ModelSpec, **paths: str) -> AppArgs:
        """The arguments for ``spec``; ``paths`` may replace ``reader`` and ``loader``."""
        serving: Serving = spec.serving
        return cls(
            model=spec.name,
            description=spec.description,
            feature_service=spec.feature_service,
            requests=spec.requests,
            max_rows=serving.max_rows,
            max_body_bytes=serving.max_body_bytes,
            expired=spec.expired,
            **paths,
        )


class Endpoint:
    """One replica: a reader, the live version, and the FastAPI application over them."""

    def __init__(self, args: dict[str, Any]) -> None:
        from ray.util import get_node_ip_address

        from ray_cluster.cluster.ray_private import keep_on_loopback
        from ray_cluster.serving.error_log import log_errors
        from ray_cluster.serving.metrics_export import Measures
        from ray_cluster.serving.prediction_log import PredictionLog, predictions_folder
        from ray_cluster.serving.predictor import Predictor
        from ray_cluster.serving.request_batches import Batches
        from ray_cluster.serving.schema import RequestSchema

        self._args = AppArgs.model_validate(args)
        self._settings = load_settings()
        keep_on_loopback(get_node_ip_address())  # type: ignore[no-untyped-call]
        for name, value in self._settings.variables().items():
            os.environ.setdefault(name, value)
        log_errors(self._settings, self._args.model)
        self._replica = _replica_name()
        self._measures = Measures(self._args.model, self._replica)
        self._schema = RequestSchema(self._args.requests, self._args.max_rows)
        self._reader = _imported(self._args.reader)(self._settings, self._args.feature_service)
        self._predictor = Predictor(
            self._args.model,
            self._schema,
            self._reader,
            PredictionLog(predictions_folder(self._settings, self._args.model), self._replica),
            lambda: datetime.now(UTC),  # requests arrive in real time, independent of the flows' as-of time
            self._measures.predicted,
            self._args.expired,
            view_versions(self._settings, list(self._reader.view_features)),
        )
        self._batches: Batches[dict[str, Any], Prediction] = Batches(self._predictor.predict, self._args.max_rows)
        self._refused: tuple[int, str] | None = None
        self._loading = asyncio.Lock()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Load ``user_config["version"]`` next to the live version and swap; requests are answered meanwhile.

        If it cannot be loaded and another version is live, that one continues to answer and :meth:`facts` reports
        which was refused and why.

        Raises:
            Exception: it cannot be loaded and nothing is live, so that Serve reports the application as failed.
        """
        wanted = int(user_config["version"])
        async with self._loading:
            live = self._predictor.live
            if live is not None and live.version == wanted:
                self._refused = None
                return
            try:
                await asyncio.to_thread(self._load, wanted)
            except Exception as error:
                if live is None:
                    raise
                logger.exception("version %s of %s was refused; %s stays live", wanted, self._args.model, live.version)
                self._refused = (wanted, f"{type(error).__name__}: {error}")
                return
            self._refused = None
            self._measures.loaded(wanted)

    def _load(self, version: int) -> None:
        self._predictor.swap(_imported(self._args.loader)(self._settings, self._args.model, version))

    def facts(self) -> ModelFacts:
        """The facts about the live version."""
        from ray_cluster.serving.routes import ModelFacts, RefusedVersion

        live = self._predictor.live
        return ModelFacts(
            name=self._args.model,
            description=self._args.description,
            version=live.version if live else None,
            alias=getattr(live, "alias", None),
            threshold=float(live.threshold) if live else None,
            features=list(live.features) if live else [],
            feature_service=self._args.feature_service,
            run_id=getattr(live, "run_id", None),
            trained_as_of=_text(getattr(live, "facts", {}).get("as_of")),
            replica=self._replica,
            refused=RefusedVersion(version=self._refused[0], reason=self._refused[1]) if self._refused else None,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The ASGI application; Serve calls this once, after the constructor."""
        from ray_cluster.serving.routes import ViewTraits, routes

        reader = self._reader
        return routes(
            self._schema,
            self.facts,
            self._predict,
            self._args.max_body_bytes,
            self._measures.answered,
            {view: ViewTraits(reader.ttls[view], names) for view, names in reader.view_features.items()},
        )

    async def _predict(self, rows: list[dict[str, Any]]) -> list[Prediction]:
        """Predictions of one request; a refused request is counted once, even if its batch is retried."""
        from ray_cluster.serving.expiry import ExpiredValueError

        try:
            return await self._batches.run(rows)
        except ExpiredValueError as error:
            self._measures.refused(len(rows), error.rows)
            raise


def build(args: dict[str, Any]) -> Application:
    """The Serve application of one model, from the fields of :class:`AppArgs`.

    Replicas, their CPUs and the version come with the declarative configuration.
    """
    from ray import serve

    deployment: Any = serve.deployment(
        serve.ingress()(Endpoint),
        name=DEPLOYMENT,
        max_ongoing_requests=64,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=15,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )
    return cast("Application", deployment.bind(AppArgs.model_validate(args).model_dump(mode="json")))


def _imported(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)


def _replica_name() -> str:
    """A file name that is unique to the replica: Serve's id, or the process id outside Serve."""
    from ray import serve

    try:
        return serve.get_replica_context().replica_id.unique_id
    except Exception:
        return f"process-{os.getpid()}"


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
