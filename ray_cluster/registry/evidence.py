"""The evidence of a run: typed documents, each kept as ``evidence/<name>.json`` and read back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self

from feature_repo.storage.document_format import DocumentError, check_format
from feature_repo.storage.secondary import Failure

__all__ = ["Dataset", "Document", "Evaluation", "Evidence", "SamplingResult"]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Base of the documents with a format version. A part that was not measured is None, and not in the JSON."""

    FORMAT: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """The JSON form, with ``format``."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"format": self.FORMAT, **{name: value for name, value in held.items() if value is not None}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], what: str) -> Self:
        """Read the JSON form; ``what`` names the document in an error. Unknown keys are ignored.

        Raises:
            DocumentError: the format is newer than this version of Headrace, or a key is missing.
        """
        check_format(content, cls.FORMAT, what)
        known = fields(cls)
        for each in known:
            if each.name not in content and each.default is MISSING and each.default_factory is MISSING:
                raise DocumentError(f"{what} has no key '{each.name}'; train again with `headrace run train`.")
        return cls(**{each.name: content[each.name] for each in known if each.name in content})


@dataclass(frozen=True, kw_only=True)
class Evaluation(Document):
    """Everything measured on the held-out rows (:func:`ray_cluster.training.evaluate.evaluate`).

    Attributes:
        family, params: of the chosen trial; ``params`` with ``iterations``.
        threshold: of the decisions that ``metrics`` are of.
        metrics: metric -> value. intervals: metric -> [low, high] of 95 %.
        period: what the metrics were measured on: ``held_out``, or ``validation`` in a notebook.
        periods: ``train``, ``validation`` and ``held_out`` -> ``start``, ``end``, ``rows``, ``positives``.
        baselines: name -> metrics.
        inputs: what the input rules learned in the served fit.
        folds: the windows of the rolling origin, the finalists' metrics on each, and ``seed_noise``
            (:mod:`ray_cluster.training.seed_noise`).
        origins: the windows of the held-out period: ``start``, ``end``, ``rows``, ``positives``, and of the fit before
            each ``train_rows`` and ``iterations``, with its ``metrics``.
        served: the fit that is served: ``until`` (it was fitted on all rows known then), ``rows``, ``iterations``,
            ``threshold``, ``calibration``; None in runs of earlier versions and in those of a notebook, which serve
            the fit before the held-out period.
        calibration: ``method``, ``rows``, ``ece_before``, ``ece_after``.
        curves: ``roc``, ``pr``, ``calibration``, ``calibration_before`` and ``scores``.
        behaviour, slices, worst_slice, importance, shap, costs, fairness: as the modules of
            :mod:`ray_cluster.evaluation` return them.
    """

    family: str
    threshold: float
    metrics: dict[str, float]
    params: dict[str, Any] = field(default_factory=dict)
    period: str = "held_out"
    periods: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    folds: dict[str, Any] | None = None
    origins: list[dict[str, Any]] | None = None
    served: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    intervals: dict[str, list[float]] | None = None
    curves: dict[str, Any] | None = None
    behaviour: list[dict[str, Any]] | None = None
    slices: list[dict[str, Any]] | None = None
    worst_slice: dict[str, Any] | None = None
    importance: list[dict[str, Any]] | None = None
    shap: list[dict[str, Any]] | None = None
    costs: dict[str, Any] | None = None
    fairness: list[dict[str, Any]] | None = None

    @property
    def fitted_until(self) -> str:
        """ISO time: the served fit has seen no row that is later, or whose outcome became known later."""
        return str(self.served["until"] if self.served else self.periods["held_out"]["start"])

    @property
    def served_threshold(self) -> float:
        """The threshold of the decisions that the version makes."""
        return float(self.served["threshold"] if self.served else self.threshold)


@dataclass(frozen=True, kw_only=True)
class Dataset(Document):
    """Which rows a model was trained on, and the code that made them.

    Attributes:
        fingerprint, rows: of the training frame. unlabelled: requests left out because their label is null.
        as_of: ISO time of what was known.
        label_overlay: version of the label corrections.
        tables: raw table -> fingerprint of all that it held.
        git: ``commit``, ``branch`` and ``dirty``. libraries: name -> version.
    """

    fingerprint: str
    rows: int
    as_of: str
    feature_service: str
    unlabelled: int = 0
    label_overlay: int = 0
    tables: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SamplingResult(Document):
    """The samplers that were compared for rare positives (:mod:`ray_cluster.training.sampling.sampler_selection`).

    Attributes:
        decision: from validation rows alone. kept: ``none``, or the sampler that is kept.
        trial: that the samplers were fitted with.
        contenders: of each, its validation and held-out figures and the checks of its rows.
    """

    decision: dict[str, Any]
    kept: str
    trial: str
    contenders: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The documents of one run by name; a document that the run does not keep is None or empty.

    Attributes:
        provenance: :func:`ray_cluster.lineage.provenance.gather`. model: the model's file as it was.
        trials: of the search, the chosen one first. decision: of the promotion gates. approval: by a person.
        failures: secondary work that failed. history: what happened to the version.
    """

    evaluation: Evaluation | None = None
    dataset: Dataset | None = None
    sampling: SamplingResult | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    approval: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Name -> JSON value of every document that there is."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.to_json() if isinstance(value, Document) else value for name, value in held.items() if value
        }

    @classmethod
    def from_json(cls, documents: Mapping[str, Any], where: str) -> Evidence:
        """Read the JSON values by name; ``where`` names the run in an error.

        Raises:
            DocumentError: a document is of a newer format, or has no key that it needs.
        """
        found = {each.name: documents[each.name] for each in fields(cls) if each.name in documents}
        for name, kind in _TYPED.items():
            if found.get(name) is not None:
                found[name] = kind.from_json(found[name], f"evidence/{name}.json of {where}")
        return cls(**found)


_TYPED: dict[str, type[Document]] = {"evaluation": Evaluation, "dataset": Dataset, "sampling": SamplingResult}
