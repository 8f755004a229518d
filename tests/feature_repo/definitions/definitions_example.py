"""Write small modules of Feast definitions, as a team's features.py would be, in several states."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["TEXT", "changed", "module"]

TEXT = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
town = Entity(name="town", join_keys=["town"], value_type=ValueType.STRING)


def _source(name):
    return FileSource(name=name, path=name, timestamp_field="event_timestamp", created_timestamp_column="known_at")


sales = FeatureView(
    name="sales",
    entities=[shop],
    ttl=timedelta(hours=6),
    schema=[Field(name="sold", dtype=Float64), Field(name="returned", dtype=Float64)],
    source=_source("sales"),
)
footfall = FeatureView(
    name="footfall",
    entities=[town],
    ttl=timedelta(days=2),
    schema=[Field(name="passers", dtype=Float64)],
    source=_source("footfall"),
)
basket = RequestSource(name="basket", schema=[Field(name="items", dtype=Int64)])
OUTPUT = [Field(name="many", dtype=Int64)]


@on_demand_feature_view(sources=[basket], schema=OUTPUT, mode="pandas")
def cart(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"many": (inputs["items"] > 3).astype("int64")})


shopping = FeatureService(name="shopping", features=[sales, footfall, cart])
leaving = FeatureService(name="leaving", features=[sales[["returned"]]])
"""


def changed(*replacements: tuple[str, str]) -> str:
    """The text with each first string replaced by the second; each must be there."""
    text = TEXT
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    return text


def module(folder: Path, text: str = TEXT, name: str = "shop_features") -> ModuleType:
    """Write ``text`` as a module of its own and import it, under a name that no import finds afterwards."""
    # a folder of its own: what is cached of a file is found by its path and second
    path = folder / str(len(list(folder.iterdir()))) / f"{name}.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    spec = spec_from_file_location(name, path)
    assert spec and spec.loader
    found = module_from_spec(spec)
    sys.modules.pop(name, None)
    spec.loader.exec_module(found)
    return found
