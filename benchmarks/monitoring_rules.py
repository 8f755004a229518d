"""False alarms and power of the rules of monitoring, beside those before, Evidently's preset and Kolmogorov-Smirnov.

    python -m benchmarks.monitoring_rules [--runs 200] [--quiet 400] [--rows 120] [--seed 0] [--others]
        [--scenarios ...]
    python -m benchmarks.monitoring_rules --flights HOME

Each run draws 77 held-out days and a live period of a model that is known exactly, so that its scores are calibrated:
log-odds are a sum of feature effects and of an effect of the day that no feature knows, with autocorrelation 0.5. Every
rule sees the same rows. ``new`` has all outcomes of the window, ``no outcomes`` none. A verdict of any kind other than
keep and wait is an alarm. With ``--others`` there are also ``before``, a copy of rules that were replaced, Evidently
and Kolmogorov-Smirnov.

The first table is the share of runs with an alarm at one look, when the change covers the window. ``excess`` is the
rise of the log loss over what the scores predict, relative to the held-out log loss. The second is the share of quiet
weeks, without a change or with a slow season, that have an alarm when each day is looked at; they begin a month after
the reference. On one core a run of nine scenarios takes 1 s and a week 0.5 s, and with ``--others`` three times that.

HOME is that of an environment whose ``flight_delay`` data are ingested and materialized; the third table is the share
of looks with an alarm, at every fourth day of the four weeks after the first window, for each of several held-out
periods.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from benchmarks.corrections import POINT, scores
from configs import load_model, load_settings
from configs.model import Monitoring
from feature_repo.tables.stability import stability_index
from ray_cluster.decisions.decision import monitoring_verdict
from ray_cluster.evaluation.column_profile import profile_column
from ray_cluster.evaluation.intervals import MIN_DAYS, Ranked, around, day_numbers, influences, standard_error
from ray_cluster.monitoring.binning import Bins
from ray_cluster.monitoring.broken_features import broken_feature
from ray_cluster.monitoring.day_variation import Period, index_variation, reference_days, utc_days
from ray_cluster.monitoring.drift import column_drift
from ray_cluster.monitoring.performance import HeldOut, Scored, performance
from ray_cluster.training.data import prepare

START = pd.Timestamp("2013-10-01", tz="UTC")
REFERENCE, WINDOWS, WEEK = 77, (7, 14, 30), 7
FEATURES = ["main", "second", "season", "memory", "kind", "noise", "daily", "gaps"]
EFFECTS = {"main": 1.0, "second": 0.6, "memory": 0.3}
KINDS = {"a": 0.5, "b": 0.0, "c": -0.5, "d": 0.2, "e": 0.0}
BASE, DAY_EFFECT = -2.0, 0.4


def truth(rows: pd.DataFrame, main: float = 1.0, scale: float = 1.0) -> Any:
    """Log-odds without the day's effect; ``main`` multiplies the effect of the main feature, ``scale`` all of them."""
    effects = sum(effect * (main if name == "main" else 1.0) * rows[f"true_{name}"] for name, effect in EFFECTS.items())
    return BASE + scale * (effects + rows["true_kind"].map(KINDS | {"new": 1.0}))


@dataclass(frozen=True)
class Scenario:
    """How the live days differ: in the features, the log-odds of the truth, and ``prior`` times as many positives."""

    features: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    odds: Callable[[pd.DataFrame], Any] = truth
    prior: float = 1.0


def scored(rows: pd.DataFrame) -> Any:
    """Scores of the model that knows the effects, averaged over the effects of days."""
    odds = BASE + sum(effect * rows[name].fillna(0.0) for name, effect in EFFECTS.items())
    odds = odds + rows["kind"].map(KINDS).fillna(0.0)
    return 1 / (1 + np.exp(-odds / np.sqrt(1 + np.pi / 8 * DAY_EFFECT**2)))


def logged(**values: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Replace what is logged, but not the truth."""
    return lambda rows: rows.assign(**values)


def _warmer(rows: pd.DataFrame) -> pd.DataFrame:
    more = 0.025 * (rows["day"] - REFERENCE)
    return rows.assign(season=rows["season"] + more, second=rows["second"] + more, true_second=rows["second"] + more)


def _new_kind(rows: pd.DataFrame) -> pd.DataFrame:
    kind = rows["kind"].where(np.arange(len(rows)) % 4 > 0, "new")
    return rows.assign(kind=kind, true_kind=kind)


SCENARIOS = {
    "nothing": Scenario(),
    "slow season": Scenario(_warmer),
    "1 sd shift of a feature": Scenario(lambda rows: rows.assign(main=rows["main"] + 1, true_main=rows["main"] + 1)),
    "prior doubled": Scenario(prior=2.0),
    "odds x 2.7": Scenario(odds=lambda rows: truth(rows) + 1),
    "effects halved": Scenario(odds=lambda rows: truth(rows, scale=0.5)),
    "effect reversed": Scenario(odds=lambda rows: truth(rows, main=-1)),
    "feature null": Scenario(logged(main=np.nan)),
    "new category": Scenario(_new_kind),
}


def walk(random: np.random.Generator, days: int, memory: float) -> Any:
    """A daily level of variance 1 that keeps ``memory`` of itself from day to day."""
    start, steps = random.normal(), random.normal(size=days) * np.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], np.concatenate([[start], steps]))[1:]


def days_of(random: np.random.Generator, days: int, rows: int) -> tuple[pd.DataFrame, Any]:
    """Rows of consecutive days, without scores, and the effect of each row's day."""
    per_day = random.poisson(rows * np.exp(0.1 * random.normal(size=days)))
    day = np.repeat(np.arange(days), per_day)
    count = len(day)
    season = np.sin(2 * np.pi * (np.arange(days) / 365 + random.random()))
    normal = random.normal(size=(6, count))
    frame = pd.DataFrame(
        {
            "day": day,
            "main": 0.5 * walk(random, days, 0.5)[day] + 0.87 * normal[0],
            "second": 0.7 * season[day] + 0.5 * walk(random, days, 0.5)[day] + 0.87 * normal[1],
            "season": 2 * season[day] + normal[2],
            "memory": 0.8 * walk(random, days, 0.95)[day] + 0.6 * normal[3],
            "kind": random.choice(list(KINDS), count, p=[0.4, 0.25, 0.2, 0.1, 0.05]),
            "noise": normal[4],
            "daily": walk(random, days, 0.7)[day],
            "gaps": np.where(random.random(count) < 0.1, np.nan, normal[5]),
        }
    )
    frame = frame.assign(**{f"true_{name}": frame[name] for name in (*EFFECTS, "kind")})
    frame["prediction_time"] = START + pd.to_timedelta(day + random.random(count), unit="D")
    return frame.sort_values("prediction_time", ignore_index=True), DAY_EFFECT * walk(random, days, 0.5)


def completed(
    random: np.random.Generator, rows: pd.DataFrame, effects: Any, scenario: Scenario = SCENARIOS["nothing"]
) -> pd.DataFrame:
    """Add scores and labels under a scenario."""
    rows = scenario.features(rows)
    odds = scenario.odds(rows) + effects[rows["day"]]
    rows = rows.assign(label=(random.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(int))
    if scenario.prior != 1:  # negatives are left out, so that each class keeps its features
        rate = rows["label"].mean()
        keep = rate * (1 - scenario.prior * rate) / (scenario.prior * rate * (1 - rate))
        rows = rows[(rows["label"] == 1) | (random.random(len(rows)) < keep)]
    rows = rows.assign(score=scored(rows), id=[str(number) for number in range(len(rows))])
    return rows[["id", "day", "prediction_time", *FEATURES, "score", "label"]].reset_index(drop=True)


# --- rules: each says whether live rows alarm ------------------------------------------


POLICY = Monitoring(min_rows=300)


class New:
    """The rules of this version. What is known of the reference is measured once, so that a look takes 30 ms; each look
    has the verdict of :func:`ray_cluster.monitoring.measurements.measure`, as a test proves."""

    def __init__(self, reference: pd.DataFrame, features: Any = None) -> None:
        self.features, self.reference = list(features or FEATURES), reference
        self.days = reference_days(reference["prediction_time"])
        self.profiles = {name: profile_column(reference[name], name) for name in (*self.features, "score")}
        self.held_out = HeldOut.of(labelled(reference))

    def __call__(self, live: pd.DataFrame) -> tuple[bool, bool]:
        """Whether they alarm: with all outcomes, and with none."""
        seen = self.evidence(live)
        return alarm(seen), alarm({**seen, "performance": None})

    def evidence(self, live: pd.DataFrame) -> dict[str, Any]:
        """What the verdict needs of the measurements."""
        after = (live["prediction_time"].min() - self.reference["prediction_time"].max()) / pd.Timedelta(days=1)
        period = Period.of(utc_days(live["prediction_time"]), after)
        broken = (broken_feature(name, self.reference[name], live[name]) for name in self.features)
        return {
            "rows": len(live),
            "broken": [each for each in broken if each],
            "features": [self._drift(name, live[name], period) for name in self.features],
            "prediction": self._drift("score", live["score"], period),
            "performance": performance(labelled(live), self.held_out),
        }

    def _drift(self, name: str, current: pd.Series[Any], period: Period) -> dict[str, Any]:
        bins = Bins.of(self.profiles[name], len(current))
        codes, found = bins.codes(self.reference[name], name), bins.count(bins.codes(current, name))
        brief = bins.brief(codes, self.days, period.days)
        days = index_variation(bins.pooled(codes, found, brief), self.days)
        text = bins.categories is not None
        return {
            "feature": name,
            "psi": stability_index(*bins.comparable(bins.expected, found, brief))[1],
            "unseen_share": float(found[bins.size :].sum()) / len(current),
            "expected_unseen_share": float(brief[codes].mean()) if text else 0.0,
            "variation": {
                "variance": days.variance(period),
                "chance": days.chance(period),
                "freedom": days.freedom,
                "dimensions": days.dimensions,
            },
        }


def alarm(measured: dict[str, Any]) -> bool:
    """Whether the verdict on measurements is neither keep nor wait."""
    return monitoring_verdict(measured, POLICY).action not in ("keep", "wait")


def labelled(rows: pd.DataFrame) -> Scored:
    """Rows with outcomes, as monitoring takes them."""
    return Scored(rows["label"].to_numpy(float), rows["score"].to_numpy(float), utc_days(rows["prediction_time"]))


class Before:
    """The rules before: PSI beyond the largest of overlapping stretches, and the interval of a metric's drop."""

    def __init__(self, reference: pd.DataFrame, features: Any = None) -> None:
        self.features = [*(features or FEATURES), "score"]
        self.reference, self.profiles = reference, {name: profile_column(reference[name]) for name in self.features}
        self.ranked = Ranked.of(reference["label"], reference["score"], day_numbers(reference["day"]))
        self.error = standard_error(influences(self.ranked.ranking, self.ranked.blocks)["average_precision"])

    def __call__(self, live: pd.DataFrame) -> bool:
        days = max(1, ceil((live["prediction_time"].max() - live["prediction_time"].min()) / pd.Timedelta(days=1)))
        drifted = {name: self._drifted(name, live[name], days) for name in self.features}
        return drifted.pop("score") or bool(np.mean(list(drifted.values())) >= 0.3) or self._dropped(live)

    def _drifted(self, name: str, current: pd.Series[Any], days: int) -> bool:
        bins = Bins.of(self.profiles[name], len(current))
        psi = column_drift(name, self.profiles[name], current, bins).psi
        if psi <= 0.25:
            return False
        codes, day = bins.codes(self.reference[name]), self.reference["day"].to_numpy()
        daily = np.stack([bins.count(codes[day == each]) for each in np.unique(day)]).cumsum(axis=0)
        before = np.vstack([np.zeros(daily.shape[1]), daily])
        inside = before[days:] - before[:-days]
        total = daily[-1]
        return psi > max(stability_index(*bins.comparable(total - each, each))[1] for each in inside)

    def _dropped(self, live: pd.DataFrame) -> bool:
        ranked = Ranked.of(live["label"], live["score"], day_numbers(live["day"]))
        rate = self.reference["label"].mean()
        if ranked.blocks < MIN_DAYS or live["label"].sum() < 30:
            return False
        drop = self.ranked.ranking()["average_precision"] - ranked.ranking(rate=rate)["average_precision"]
        now = standard_error(
            influences(lambda weights: ranked.ranking(weights, rate), ranked.blocks)["average_precision"]
        )
        error = float(np.hypot(now[0], self.error[0]))
        freedom = error**4 / sum(each**4 / free for each, free in (now, self.error))
        return drop > 0.05 and around(drop, error, freedom)[0] > 0


def evidently(reference: pd.DataFrame, live: pd.DataFrame, features: Any = None) -> bool:
    """Evidently's DataDriftPreset by default, for more than 1,000 reference rows: a number drifts from a Wasserstein
    distance of 0.1 standard deviations on, a category from a Jensen-Shannon distance of 0.1, a dataset if half do."""
    drifted = []
    for name in features or FEATURES:
        before, now = reference[name].dropna(), live[name].dropna()
        if not len(now):
            drifted.append(True)
        elif reference[name].dtype == object:
            p, q = before.value_counts(normalize=True).align(now.value_counts(normalize=True), fill_value=0.0)
            middle = (p + q) / 2
            entropy = [np.sum(each[each > 0] * np.log2(each[each > 0] / middle[each > 0])) for each in (p, q)]
            drifted.append(np.sqrt(sum(entropy) / 2) >= 0.1)
        else:
            drifted.append(wasserstein_distance(before, now) / max(np.std(before), 0.001) >= 0.1)
    return float(np.mean(drifted)) >= 0.5


def kolmogorov_smirnov(reference: pd.DataFrame, live: pd.DataFrame, features: Any = None) -> bool:
    """Any feature with a p-value below 0.05: Kolmogorov-Smirnov for numbers, chi-squared for categories."""
    for name in features or FEATURES:
        before, now = reference[name].dropna(), live[name].dropna()
        if not len(now):
            return True
        if reference[name].dtype == object:
            counts = pd.concat([before.value_counts(), now.value_counts()], axis=1).fillna(0.0).to_numpy()
            if chi2_contingency(counts).pvalue < 0.05:
                return True
        elif ks_2samp(before, now, method="asymp").pvalue < 0.05:
            return True
    return False


OWN, OTHERS = ("new", "no outcomes"), ("before", "Evidently", "KS 0.05")


class Rules:
    """All rules of a reference: ``OWN``, and ``OTHERS`` if wanted."""

    def __init__(self, reference: pd.DataFrame, others: bool, features: Any = None) -> None:
        self.new = New(reference, features)
        self.others: list[Callable[[pd.DataFrame], bool]] = []
        if others:
            before = Before(reference, features)
            self.others = [
                lambda live: bool(before(live)),
                lambda live: evidently(reference, live, features),
                lambda live: kolmogorov_smirnov(reference, live, features),
            ]

    def alarms(self, *looks: pd.DataFrame) -> list[bool]:
        """Whether each rule alarms at any look."""
        own = np.any([self.new(live) for live in looks], axis=0).tolist()
        return [*own, *(any(rule(live) for live in looks) for rule in self.others)]


def drawn(random: np.random.Generator, rows: int, days: int) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """A reference with scores and labels, later rows without, and the effects of days."""
    frame, effects = days_of(random, REFERENCE + days, rows)
    early = frame["day"] < REFERENCE
    return completed(random, frame[early], effects), frame[~early], effects


def power(
    seeds: Iterable[int], rows: int, names: list[str], others: bool = False
) -> Iterator[tuple[str, int, float, list[float]]]:
    """Scenario, window, excess log loss and the share of runs with an alarm for each rule."""
    found: dict[tuple[str, int], list[list[bool]]] = {}
    excess: dict[str, list[float]] = {name: [] for name in names}
    for seed in seeds:
        random = np.random.default_rng(seed)
        reference, later, effects = drawn(random, rows, max(WINDOWS))
        rules = Rules(reference, others)
        loss = _loss(reference).mean()
        for name in names:
            live = completed(random, later, effects, SCENARIOS[name])
            score = live["score"]
            expected = -(score * np.log(score) + (1 - score) * np.log1p(-score))
            excess[name].append(float((_loss(live) - expected).mean() / loss))
            for window in WINDOWS:
                seen = live[live["day"] < REFERENCE + window]
                found.setdefault((name, window), []).append(rules.alarms(seen))
    for (name, window), each in found.items():
        yield name, window, float(np.mean(excess[name])), np.mean(each, axis=0).tolist()


def _loss(rows: pd.DataFrame) -> Any:
    return -np.where(rows["label"] == 1, np.log(rows["score"]), np.log1p(-rows["score"]))


def quiet(seeds: Iterable[int], rows: int, name: str, others: bool = False) -> Iterator[tuple[int, list[float]]]:
    """Window and the share of weeks with an alarm at any of seven daily looks, for each rule."""
    found: dict[int, list[Any]] = {window: [] for window in WINDOWS}
    for seed in seeds:
        random = np.random.default_rng(seed)
        reference, later, effects = drawn(random, rows, max(WINDOWS) + WEEK)
        rules = Rules(reference, others)
        live = completed(random, later, effects, SCENARIOS[name])
        for window in WINDOWS:
            looks = [
                live[(live["day"] >= end - window) & (live["day"] < end)]
                for end in range(REFERENCE + max(WINDOWS), REFERENCE + max(WINDOWS) + WEEK)
            ]
            found[window].append(rules.alarms(*looks))
    for window, each in found.items():
        yield window, np.mean(each, axis=0).tolist()


def flights(home: str) -> Iterator[tuple[str, int, int, list[float]]]:
    """First live day, window, number of looks and the share of looks with an alarm for each rule.

    A model fitted on the rows before the held-out period is watched over four weeks after it, at every fourth day.
    """
    os.environ["HEADRACE_HOME"] = home
    settings, spec = load_settings(), load_model("flight_delay")
    data = prepare(settings, spec, datetime(2013, 12, 31, tzinfo=UTC))
    features = [name for name in data.features if name not in spec.monitoring.ignore]
    rows = data.features[features].assign(
        id=[str(number) for number in range(len(data.y))], label=data.y, prediction_time=data.rows["prediction_time"]
    )
    day = (rows["prediction_time"] - rows["prediction_time"].min()) // pd.Timedelta(days=1)
    for first in range(60, int(day.max()) - REFERENCE - max(WINDOWS), 30):
        end = first + REFERENCE
        later = (day >= first) & (day < end + max(WINDOWS) + 28)
        found = scores("xgboost", POINT, data, (day < first).to_numpy(), later.to_numpy(), 60_000)
        seen = rows[later].assign(score=found, day=day[later])
        reference, live = seen[seen["day"] < end], seen[seen["day"] >= end]
        rules = Rules(reference, True, features)
        for window in WINDOWS:
            looks = [
                rules.alarms(live[(live["day"] >= last - window) & (live["day"] < last)])
                for last in range(end + window, end + window + 28, 4)
                if last <= live["day"].max() + 1
            ]
            moment = rows["prediction_time"].min() + pd.Timedelta(days=end)
            yield f"{moment:%d %b}", window, len(looks), np.mean(looks, axis=0).tolist()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--quiet", type=int, default=400)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the first week has 100,000 more")
    parser.add_argument("--others", action="store_true", help="also the rules before, Evidently and KS")
    parser.add_argument("--flights", metavar="HOME")
    given = parser.parse_args()
    rules = (*OWN, *OTHERS) if given.others or given.flights else OWN
    if given.flights:
        print(f"| first live day | window | looks | {' | '.join(rules)} |\n|---|---|---|{'---|' * len(rules)}")
        for moment, window, looks, shares in flights(given.flights):
            print(f"| {moment} | {window} | {looks} | {' | '.join(f'{each:.0%}' for each in shares)} |", flush=True)
        return
    head = f" | {' | '.join(rules)} |"
    seeds = range(given.seed, given.seed + given.runs)
    weeks = range(given.seed + 100_000, given.seed + 100_000 + given.quiet)
    if given.runs:
        print(f"| scenario | window | excess{head}\n|---|---|---|{'---|' * len(rules)}", flush=True)
        for name, window, excess, shares in power(seeds, given.rows, given.scenarios, given.others):
            print(f"| {name} | {window} | {excess:.1%} | {' | '.join(f'{each:.0%}' for each in shares)} |", flush=True)
    if given.quiet:
        print(f"\n| a week of daily looks | window{head}\n|---|---|{'---|' * len(rules)}", flush=True)
        for name in [name for name in ("nothing", "slow season") if name in given.scenarios]:
            for window, shares in quiet(weeks, given.rows, name, given.others):
                print(f"| {name} | {window} | {' | '.join(f'{each:.1%}' for each in shares)} |", flush=True)


if __name__ == "__main__":
    main()
