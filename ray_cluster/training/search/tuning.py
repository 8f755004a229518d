"""Search the model families together with Ray Tune, on rows that are encoded and put into the object store once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from feature_repo.storage.files import locked
from ray_cluster.cluster.capacity import all_resources, capacity, check_resources, share, this_node
from ray_cluster.cluster.ray_private import free_resources
from ray_cluster.training.search.checkpoint import SearchCheckpoint, trial_number
from ray_cluster.training.search.results import Search, SearchError

if TYPE_CHECKING:
    from ray.tune import ResultGrid

    from configs.model import ModelSpec
    from configs.settings import Settings
    from ray_cluster.training.families.encoding import SearchRows
    from ray_cluster.training.search.budget import BudgetStopper

__all__ = ["tune_families"]

#: Settings of Tune's run. Its state is written every second; a trial's progress is in the trial's own checkpoint. Its
#: loggers are off: reports are in Tune's state. A trial without a metric has failed, and its result says why.
_ENVIRONMENT = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def tune_families(settings: Settings, spec: ModelSpec, key: str, rows: Callable[[], SearchRows]) -> Search:
    """Run the search of ``spec.tuning``; an interrupted search of the same ``key`` continues.

    Args:
        rows: called while the workers start.

    Raises:
        FamilyError, ResourcesError, BudgetError: a family, the cluster or the budget does not allow it.
        SearchError: no trial has a metric.
    """
    import ray

    from ray_cluster.training.families import check_family
    from ray_cluster.training.search.worker import worker_of

    tuning, name = spec.tuning, f"search {uuid4().hex}"
    for family in tuning.families:
        check_family(family.key, list(family.space))
    check_resources(all_resources(), tuning, spec.name)
    with locked(settings.home, f"tune-{key}"):
        room = {node: slots for node, free in free_resources().items() if (slots := capacity(free, tuning).slots)}
        workers = [worker_of(node, name, tuning) for node in room]
        try:
            from ray_cluster.training.search.budget import BudgetStopper

            folder = (settings.home / "tune" / key).resolve()
            budget = BudgetStopper(tuning, settings.prices, spec.name, folder / "spent.json")
            placed = {each: [[ray.put(array) for array in part] for part in both] for each, both in rows().items()}
            for worker in workers:
                worker.load.remote(placed)
            checkpoint = SearchCheckpoint(folder)
            found = _tuned(spec, budget, checkpoint, sum(room.values()) or 1, search=name, rows=placed)
        finally:
            for worker in workers:
                ray.kill(worker)
        checkpoint.remove()
        return found


def _tuned(
    spec: ModelSpec, budget: BudgetStopper, checkpoint: SearchCheckpoint, slots: int, search: str, rows: Any
) -> Search:
    """Run Tune in the folder of the checkpoint, or restore its experiment there."""
    from ray import tune

    from ray_cluster.training.search.scheduler import scheduler
    from ray_cluster.training.search.searcher import SeededSearch
    from ray_cluster.training.search.trainable import SearchTrial

    at_once = spec.tuning.scheduler.name == "hyperband"  # its trials wait for each other: start a bracket as a whole
    os.environ.update(_ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": "32" if at_once else "auto"})
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)  # it warns of missing logs
    tuning, folder = spec.tuning, checkpoint.folder
    trainable = tune.with_parameters(SearchTrial, search=search, tuning=tuning, rows=rows, folder=folder)
    trial = {"CPU": share(tuning.cpus_per_trial, slots), "GPU": tuning.gpus_per_trial}
    trainable = tune.with_resources(trainable, tune.PlacementGroupFactory([{this_node(): 0.001}, trial]))
    if checkpoint.resumable:
        tuner = tune.Tuner.restore(str(checkpoint.experiment), trainable)
    else:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=SeededSearch(tuning),
                max_concurrent_trials=None if at_once else slots,
                scheduler=scheduler(tuning),
                num_samples=tuning.budget.trials or -1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(int(trial.experiment_tag.split("_")[0]) - 1),
            ),
            run_config=tune.RunConfig(
                name=checkpoint.experiment.name,
                storage_path=str(folder),
                stop=budget,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=2),
                verbose=0,
            ),
        )
    grid = tuner.fit()
    budget.recall()
    return _search(spec, grid, budget.over, checkpoint)


def _search(spec: ModelSpec, grid: ResultGrid, over: str, checkpoint: SearchCheckpoint) -> Search:
    """The result of Tune's run; ``over`` is the reason why it ended before all trials."""
    from ray_cluster.training.search.worker import failed

    found = []
    for each in (grid[number] for number in range(len(grid))):
        if (progress := checkpoint.kept(trial_number(each.path))) is None:
            continue
        if each.error:
            progress = failed(progress, f"its process died ({type(each.error).__name__})")
        if progress.result.status == "stopped early":
            beaten = (each.metrics or {}).get("done") or not over
            reason = "others were better at the same point" if beaten else over
            progress = replace(progress, result=replace(progress.result, reason=reason))
        found.append(progress)
    found.sort(key=lambda each: (each.result.metric is None, -(each.result.metric or 0), int(each.result.trial)))
    if not found or found[0].result.metric is None:
        first = next((each.result.reason for each in found if each.result.reason), "none")
        raise SearchError(
            f"None of the {len(found)} trials of model '{spec.name}' has a metric; the first failed with: "
            f"{first.rstrip('.')}. Fix that in tuning.families, and train again."
        )
    return Search([each.result for each in found], found[0].scores)
