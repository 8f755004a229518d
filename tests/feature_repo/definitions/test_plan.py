"""The plan names every kind of change, in both directions, and says no more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.definitions.load import DefinitionError, fingerprint, written
from feature_repo.definitions.plan import Definitions, OnDemandDefinition, ServiceDefinition, ViewDefinition, diff
from tests.feature_repo.definitions.definitions_example import TEXT, changed, module

SALES = ViewDefinition("sales", (("shop_id", "String"),), (("sold", "Float64"), ("returned", "Float64")), 21600, "s")
CART = OnDemandDefinition("cart", (("items", "Int64"),), (("many", "Int64"),), "text", "code")
BEFORE = Definitions(
    {"sales": SALES},
    {"cart": CART},
    {"shopping": ServiceDefinition("shopping", (("sales", "sold"), ("sales", "returned"), ("cart", "many")))},
)


def sales(**changes):
    return replace(BEFORE, views={"sales": replace(SALES, **changes)})


def cart(**changes):
    return replace(BEFORE, on_demand={"cart": replace(CART, **changes)})


def shopping(*features):
    return replace(BEFORE, services={"shopping": ServiceDefinition("shopping", features)})


ALL = {("sales", "sold"), ("sales", "returned")}
CASES = [
    (sales(ttl=3600), "sales: TTL shortened, 6h → 1h", "breaks", ALL),
    (sales(ttl=86400), "sales: TTL lengthened, 6h → 1d", "values", ALL),
    (sales(ttl=0), "sales: TTL lengthened, 6h → never expires", "values", ALL),
    (sales(features=SALES.features[:1]), "sales: feature removed, returned", "breaks", {("sales", "returned")}),
    (sales(features=(*SALES.features, ("n", "Int64"))), "sales: feature added, n", "safe", {("sales", "n")}),
    (
        sales(features=(("sold", "Int64"), SALES.features[1])),
        "sales: type changed, sold Float64 → sold Int64",
        "breaks",
        {("sales", "sold")},
    ),
    (sales(keys=(("town", "String"),)), "sales: join keys changed, shop_id String → town String", "breaks", ALL),
    (sales(keys=(("shop_id", "Int64"),)), "sales: join keys changed, shop_id String → shop_id Int64", "breaks", ALL),
    (sales(source="t"), "sales: source changed, s → t", "values", ALL),
    (replace(BEFORE, views={}), "sales: view removed", "breaks", ALL),
    (
        replace(BEFORE, views={"sales": SALES, "other": replace(SALES, name="other")}),
        "other: view added",
        "safe",
        set(),
    ),
    (cart(text="other"), "cart: on-demand code changed", "values", {("cart", "many")}),
    (cart(code="other"), "cart: on-demand code changed", "values", {("cart", "many")}),
    (
        cart(inputs=(("items", "Int64"), ("cash", "Bool"))),
        "cart: request fields changed, items Int64 → items Int64, cash Bool",
        "breaks",
        {("cart", "many")},
    ),
    (
        cart(features=(("many", "Float64"),)),
        "cart: type changed, many Int64 → many Float64",
        "breaks",
        {("cart", "many")},
    ),
    (replace(BEFORE, on_demand={}), "cart: on-demand view removed", "breaks", {("cart", "many")}),
    (
        shopping(("sales", "sold"), ("cart", "many")),
        "shopping: service lost, sales:returned",
        "breaks",
        {("sales", "returned")},
    ),
    (replace(BEFORE, services={}), "shopping: service removed", "breaks", {*ALL, ("cart", "many")}),
]


@pytest.mark.parametrize(("after", "sentence", "effect", "touched"), CASES, ids=[case[1][:40] for case in CASES])
def test_each_change_is_named(after, sentence, effect, touched):
    (change,) = diff(BEFORE, after)
    assert (str(change), change.effect, set(change.features)) == (sentence, effect, touched)


def test_the_way_back_of_each_change_is_a_change_too():
    kinds = {"removed": "added", "lost": "gained", "shortened": "lengthened"}
    for after, sentence, effect, _ in CASES:
        (back,) = diff(after, BEFORE)
        there = sentence.split(": ", 1)[1].split(",")[0]
        word = there.rsplit(" ", 1)[-1]
        mirror = {**kinds, **{value: key for key, value in kinds.items()}}.get(word)
        assert back.kind == (there if mirror is None else there.removesuffix(word) + mirror)
        if word in ("removed", "lost"):
            assert (effect, back.effect) == ("breaks", "safe")


def test_a_query_that_is_not_known_is_no_change():
    unknown, one, other = sales(query=None), sales(query="1"), sales(query="2")
    assert diff(unknown, one) == diff(one, unknown) == diff(one, one) == []
    assert [str(each) for each in diff(one, other)] == ["sales: query changed"]


def test_a_feature_that_its_view_lost_is_told_once():
    after = Definitions(
        {"sales": replace(SALES, features=SALES.features[:1])},
        BEFORE.on_demand,
        {"shopping": ServiceDefinition("shopping", (("sales", "sold"), ("cart", "many")))},
    )
    assert [change.kind for change in diff(BEFORE, after)] == ["feature removed"]


names = st.sampled_from(["a", "b", "c"])
fields = st.dictionaries(names, st.sampled_from(["Int64", "String"]), min_size=1).map(lambda each: tuple(each.items()))
views = st.dictionaries(
    names,
    st.builds(
        ViewDefinition,
        name=st.just(""),
        keys=fields,
        features=fields,
        ttl=st.sampled_from([0.0, 60.0, 90.0]),
        source=names,
        query=st.none() | names,
    ),
).map(lambda found: {name: replace(view, name=name) for name, view in found.items()})
definitions = st.builds(Definitions, views=views)


@given(before=definitions, after=definitions)
def test_no_change_exactly_when_nothing_differs(before, after):
    def known(one, two):
        """Views of ``one`` without what only one side knows, and in an order of their own."""
        return {
            name: replace(
                view,
                keys=tuple(sorted(view.keys)),
                features=tuple(sorted(view.features)),
                query=view.query if name in two.views and two.views[name].query else None,
            )
            for name, view in one.views.items()
        }

    assert (diff(before, after) == []) == (known(before, after) == known(after, before))
    assert diff(before, before) == []


@given(before=definitions, after=definitions)
def test_whatever_disappears_breaks(before, after):
    """By a second, simpler reading: a feature that is gone or of another type is in some breaking change."""
    breaking = {each for change in diff(before, after) if change.effect == "breaks" for each in change.features}
    held = {(name, *each) for name, view in after.views.items() for each in view.features}
    gone = {
        (name, each[0]) for name, view in before.views.items() for each in view.features if (name, *each) not in held
    }
    assert gone <= breaking


def test_what_a_module_defines_is_read_without_registering_it(tmp_path):
    found = written(module(tmp_path))
    assert found.views["sales"].keys == (("shop_id", "String"),)
    assert found.views["sales"].features == (("sold", "Float64"), ("returned", "Float64"))
    assert (found.views["sales"].ttl, found.views["footfall"].ttl) == (21600, 172800)
    assert found.on_demand["cart"].inputs == (("items", "Int64"),)
    assert found.services["leaving"].features == (("sales", "returned"),)


def test_code_that_an_on_demand_view_imports_counts_as_its_own(tmp_path):
    body = "return pd.DataFrame"
    plain = written(module(tmp_path)).on_demand["cart"]
    imports = changed((body, f"from feature_repo.transforms.calendar import calendar_features\n    {body}"))
    other = changed((body, f"from feature_repo.transforms.rolling import rolling\n    {body}"))
    codes = {written(module(tmp_path, text)).on_demand["cart"].code for text in (imports, other)}
    assert len(codes | {plain.code}) == 3
    assert written(module(tmp_path, TEXT)).on_demand["cart"] == plain


def test_the_fingerprint_follows_the_file(tmp_path):
    first = fingerprint(module(tmp_path))
    assert fingerprint(module(tmp_path)) == first
    assert fingerprint(module(tmp_path, TEXT + "# a word\n")) != first


@pytest.mark.parametrize(
    ("replacements", "queries", "sentence"),
    [
        (
            [('name="footfall",\n    entities', 'name="sales",\n    entities')],
            None,
            "has the feature view 'sales' twice",
        ),
        ([('name="leaving"', 'name="shopping"')], None, "has the feature service 'shopping' twice"),
        ([('join_keys=["town"], value_type=ValueType.STRING', 'join_keys=["town"]')], None, "Entity 'town' .* no type"),
        (
            [('schema=[Field(name="passers", dtype=Float64)],', "schema=[],")],
            None,
            "'footfall' .* declares no features",
        ),
        (
            [('Field(name="passers"', 'Field(name="score"')],
            None,
            "feature 'score' of view 'footfall' .* 'footfall_score'",
        ),
        (
            [('Field(name="many"', 'Field(name="label"'), ('"many":', '"label":')],
            None,
            "feature 'label' of view 'cart'",
        ),
        ([('Field(name="sold"', 'Field(name="sales__known_at"')], None, "'sales__known_at' of .* has a reserved name"),
        (
            [('Field(name="sold"', 'Field(name="sales_age_hours"')],
            None,
            "'sales_age_hours' of view 'sales' .* rename it, or write age\\('sales'\\) in the schema",
        ),
        (
            [('Field(name="many"', 'Field(name="sales_age_hours"'), ('"many":', '"sales_age_hours":')],
            None,
            "'sales_age_hours' of view 'cart' .* has the name of the age of view 'sales'; rename it.$",
        ),
        (
            [
                (
                    'Field(name="sold", dtype=Float64)',
                    '__import__("feature_repo.transforms.age").transforms.age.age("sale")',
                )
            ],
            None,
            "View 'sales' .* has the age 'sale_age_hours' of another view; write age\\('sales'\\)",
        ),
        ([], {"sales": "1"}, "Feature view 'footfall' of shop_features.py has no query; add it to VIEWS"),
        ([], {"sales": "1", "footfall": "2", "fotfall": "3"}, "The query 'fotfall' .* has no feature view"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, replacements, queries, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        written(module(tmp_path, changed(*replacements)), queries)


def test_the_projects_own_definitions_are_whole():
    from feature_repo import features
    from feature_repo.transforms import VIEWS, code

    found = written(features, {view: code(view) for view in VIEWS})
    assert set(found.views) == set(VIEWS) and all(view.keys and view.query for view in found.views.values())
