from __future__ import annotations

import datetime as dt
from fractions import Fraction
from pathlib import Path

import pytest

from jupyter_aiinfra.cost.catalog import (
    CONFIDENCES,
    CatalogRow,
    Terms,
    bundled,
    find,
    imported,
    price_age,
    read_csv,
    terms_from_wire,
)
from jupyter_aiinfra.cost.importing import as_records, read_machines, read_prices, read_skypilot
from jupyter_aiinfra.cost.money import Rate, Unit, money
from jupyter_aiinfra.cost.terms import PriceOptions, agree, split_options
from jupyter_aiinfra.errors import UsageError

TODAY = dt.date(2026, 11, 25)
HEADER = "provider,sku,gpu,gpus,region,on_demand,spot,currency,source,as_of,confidence"


def row(**changes: object) -> CatalogRow:
    values: dict[str, object] = {
        "provider": "aws",
        "sku": "p5.48xlarge",
        "gpu": "H100",
        "gpus": 8,
        "region": "us-east-1",
        "spot": False,
        "amount": "55.04",
        "currency": "USD",
        "source": "a page",
        "as_of": "2026-11-09",
        "confidence": "list",
    }
    return CatalogRow(**{**values, **changes})  # type: ignore[arg-type]


# --- the bundled one -----------------------------------------------------------------------------


def test_every_bundled_price_has_a_source_a_date_and_a_confidence() -> None:
    rows = bundled()
    assert len(rows) > 40
    for each in rows:
        assert each.source
        assert dt.date(2025, 1, 1) < dt.date.fromisoformat(each.as_of) <= TODAY
        assert each.confidence in CONFIDENCES
        assert each.rate.money.amount > 0
        assert each.gpus > 0


def test_what_was_only_remembered_says_so() -> None:
    price = agree(PriceOptions(sku="aws:g5.xlarge"), bundled())
    assert "confirmed nowhere" in price.text(today=TODAY)


def test_no_price_is_there_twice() -> None:
    keys = [(each.name, each.region, each.spot) for each in bundled()]
    assert len(set(keys)) == len(keys)


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("aws,p5,H100,8,us,x,,USD,page,2026-11-09,list", "'x' is no amount"),
        ("aws,p5,H100,8,us,-1,,USD,page,2026-11-09,list", "'-1' is no amount"),
        ("aws,p5,H100,8,us,1,,DOLLARS,page,2026-11-09,list", "'DOLLARS'"),
        ("aws,p5,H100,8,us,1,,USD,,2026-11-09,list", "where it is from"),
        ("aws,p5,H100,8,us,1,,USD,page,yesterday,list", "'yesterday' is no date"),
        ("aws,p5,H100,8,us,1,,USD,page,2026-11-09,sure", "'sure'"),
        ("aws,p5,H100,many,us,1,,USD,page,2026-11-09,list", "gpus='many'"),
        ("aws,p5,H100,8,us,,,USD,page,2026-11-09,list", "no price at all"),
        (",p5,H100,8,us,1,,USD,page,2026-11-09,list", "provider"),
    ],
)
def test_a_malformed_row_is_named(line: str, says: str) -> None:
    good = "aws,p4,A100,8,us,1,,USD,page,2026-11-09,list"
    with pytest.raises(UsageError, match=r"prices\.csv, row 3") as caught:
        read_csv([HEADER, good, line], where="prices.csv")
    assert says in caught.value.message


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UsageError, match="'confidence'"):
        read_csv([HEADER.replace(",confidence", "")], where="prices.csv")


def test_what_cannot_be_read_of_the_store_is_left_out() -> None:
    (good,) = as_records([row()])
    assert imported([good, {"provider": "x"}, {**good, "as_of": "never"}]) == [row()]


# --- finding -------------------------------------------------------------------------------------


ROWS = [
    row(),
    row(region="eu-west-1", amount="60"),
    row(spot=True, amount="20"),
    row(provider="gcp", sku="a3-highgpu-8g", region=""),
    row(provider="lambda", sku="8x", region="", currency="EUR"),
    row(provider="vast", sku="8x", region=""),
]


def test_a_price_is_found_by_sku_region_and_kind() -> None:
    assert find(ROWS, "aws:p5.48xlarge", region="us-east-1").rate == Rate(money("6.88"))
    assert find(ROWS, "P5.48XLARGE", region="EU-WEST-1").amount == "60"
    assert find(ROWS, "p5.48xlarge", region="us-east-1", spot=True).amount == "20"
    assert find(ROWS, "gcp:a3-highgpu-8g", region="anywhere").region == "anywhere"
    assert find(ROWS, "vast:8x").currency == "USD"


@pytest.mark.parametrize(
    ("asked", "says", "hint"),
    [
        ({"sku": "aws:p5.48xlarg"}, "no price is known", "aws:p5.48xlarge"),
        ({"sku": "p5.48xlarge"}, "depends on the region", "eu-west-1, us-east-1"),
        ({"sku": "p5.48xlarge", "region": "us-east-2"}, "'us-east-2'", "did you mean us-east-1"),
        ({"sku": "8x"}, "several providers", "lambda:8x, vast:8x"),
        ({"sku": "gcp:a3-highgpu-8g", "spot": True}, "only the price on demand", "--price"),
        ({"sku": "qqqq"}, "no price is known", "--price"),
    ],
)
def test_what_is_not_known_names_the_nearest(
    asked: dict[str, object], says: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(ROWS, **asked)  # type: ignore[arg-type]
    assert says in caught.value.message
    assert hint in caught.value.hint


# --- terms ---------------------------------------------------------------------------------------


def test_options_of_a_pool_and_of_its_price_are_told_apart() -> None:
    own, price = split_options({"hosts": "a", "price": "3/h", "spot": "true", "sku": None})
    assert own == {"hosts": "a"}
    assert price == PriceOptions(price="3/h", spot=True)
    assert not split_options({"hosts": "a"})[1].given
    with pytest.raises(UsageError, match="price"):
        split_options({"spot": "perhaps"})


def test_what_somebody_pays_goes_before_any_catalog() -> None:
    terms = agree(PriceOptions(price="2.49", sku="aws:p5.48xlarge", region="x"), ROWS, today=TODAY)
    assert terms.rate == Rate(money("2.49"))
    assert (terms.confidence, terms.as_of) == ("owner", "2026-11-25")
    assert terms.text() == "$2.49 a GPU-hour, aws:p5.48xlarge in x, from what you said"


def test_the_age_of_a_price_is_told_and_an_old_one_says_so() -> None:
    terms = agree(PriceOptions(sku="p5.48xlarge", region="us-east-1"), ROWS, today=TODAY)
    assert "16 days old" in terms.text(today=TODAY)
    assert "OLD" not in terms.text(today=TODAY)
    assert "200 days old: OLD" in terms.text(today=dt.date(2027, 5, 28))
    assert price_age("2026-11-24", today=TODAY) == 1
    assert price_age(None) is None


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        (PriceOptions(region="us-east-1"), "region"),
        (PriceOptions(spot=True), "spot"),
        (PriceOptions(currency="eur"), "currency"),
        (PriceOptions(sku="nothing-like-it"), "sku"),
        (PriceOptions(price="much"), "price"),
        (PriceOptions(sku="vast:8x", currency="eur"), "currency"),
    ],
)
def test_what_is_wrong_is_told_by_its_option(asked: PriceOptions, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        agree(asked, ROWS)
    assert caught.value.option == option


def test_terms_come_back_as_they_were_kept() -> None:
    terms = agree(PriceOptions(sku="p5.48xlarge", region="us-east-1"), ROWS)
    assert terms_from_wire({**terms.wire, "from_the_future": 1}) == terms
    assert terms_from_wire({"amount": 3}) == Terms()
    assert Terms().text() == "price unknown"


# --- SkyPilot ------------------------------------------------------------------------------------

AWS = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
p5.48xlarge,H100,8.0,192,2048,{},55.04,20.5,us-east-1,use1-az2
p5.48xlarge,H100,8.0,192,2048,{},55.04,19.5,us-east-1,use1-az4
p5.48xlarge,H100,8.0,192,2048,{},60.54,,eu-west-1,euw1-az1
m5.large,,,2,8,,0.096,0.03,us-east-1,use1-az2
"""
# Another order, a region before the price; and what costs without its GPUs.
GCP = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,Price,SpotPrice,AvailabilityZone
a2-highgpu-1g,12,85,,,,us-central1,0.73948,0.44371,us-central1-a
,,,A100,1.0,{},us-central1,2.9,1.1,us-central1-a
g2-standard-4,4,16,L4,1.0,{},us-central1,0.7,0.3,us-central1-a
"""


def test_skypilots_catalogs_are_read_by_their_header() -> None:
    found = read_skypilot(AWS.splitlines(), provider="aws", source="vms.csv", as_of=TODAY)
    prices = {(each.region, each.spot): each.amount for each in found.rows}
    # The cheapest zone of each region.
    assert prices == {
        ("us-east-1", False): "55.04",
        ("us-east-1", True): "19.5",
        ("eu-west-1", False): "60.54",
    }
    assert found.rows[0].rate == Rate(money("6.88"))
    assert "1 rows" in found.notes[0]


def test_a_machine_without_the_price_of_its_gpus_is_left_out() -> None:
    found = read_skypilot(GCP.splitlines(), provider="gcp", source="vms.csv", as_of=TODAY)
    assert {each.sku for each in found.rows} == {"g2-standard-4"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("InstanceType,Price\nx,1\n", "'AcceleratorName'"),
        (AWS.replace("60.54", "cheap"), "row 4: Price is 'cheap'"),
        (AWS.replace("60.54", "-1"), "row 4: Price is '-1'"),
        (AWS.splitlines()[0] + "\n", "no price of a machine"),
    ],
)
def test_a_malformed_catalog_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_skypilot(text.splitlines(), provider="aws", source="vms.csv", as_of=TODAY)
    assert says in caught.value.message


def test_a_file_is_read_as_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "aws"
    folder.mkdir()
    catalog, own, machines = folder / "vms.csv", tmp_path / "own.csv", tmp_path / "m.yaml"
    catalog.write_text(AWS)
    own.write_text(f"{HEADER}\nx,y,H100,1,,2,,EUR,page,2026-11-09,list\n")
    machines.write_text("machines:\n  - {name: box, gpus: 2, gpu_hour: 1.5}\n")
    assert read_prices(catalog).rows[0].provider == "aws"
    assert read_prices(catalog, provider="them").rows[0].provider == "them"
    assert read_prices(own).rows[0].name == "x:y"
    assert read_prices(machines).rows[0].name == "owned:box"
    with pytest.raises(UsageError, match="cannot be read"):
        read_prices(tmp_path / "gone.csv")


# --- one's own machines --------------------------------------------------------------------------


def test_a_machine_of_ones_own_is_priced_by_what_it_cost() -> None:
    text = """
    currency: eur
    machines:
      - name: workstation
        gpu: RTX 4090
        gpus: 2
        purchase: 7012.80
        years: 4
        watts: 1000
        tariff: 0.30
      - name: lab
        gpus: 8
        gpu_hour: 1.10
        currency: usd
      - name: cpu
        node_hour: 0.25
    """
    found = read_machines(text, source="machines.yaml", as_of=TODAY).rows
    # 7,012.80 over 35,064 hours is 0.20 an hour, and 0.30 of power beside it.
    assert found[0].machine == money("0.50", "EUR")
    assert found[0].rate == Rate(money("0.25", "EUR"))
    assert "7012.80, over 4 years, 1000 W at 0.30 a kWh" in found[0].source
    assert found[1].rate == Rate(money("1.10", "USD"))
    assert found[2].rate == Rate(money("0.25", "EUR"), Unit.NODE)
    assert Fraction(found[1].amount) == Fraction("8.8")


@pytest.mark.parametrize(
    ("machine", "says", "hint"),
    [
        ("{name: x}", "one price", "gpu_hour"),
        ("{name: x, gpu_hour: 1, node_hour: 2, gpus: 1}", "one price", ""),
        ("{name: x, gpu_hour: 1}", "no gpus", ""),
        ("{name: x, purchase: 1}", "does not say years", ""),
        ("{name: x, purchase: 1, years: 0}", "years is 0", ""),
        ("{name: x, purchase: 1, years: 1, watts: 3}", "does not say tariff", ""),
        ("{name: x, purchse: 1}", "'purchse'", "did you mean purchase"),
        ("{name: x, node_hour: cheap}", "'cheap', not a number", ""),
        ("{name: x, node_hour: -1}", "less than nothing", ""),
        ("{node_hour: 1}", "without a name", ""),
        ("{name: a b, node_hour: 1}", "a name has", ""),
        ("just text", "is no machine", ""),
    ],
)
def test_what_is_wrong_with_a_machine_is_told(machine: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_machines(f"machines:\n  - {machine}\n", source="m.yaml", as_of=TODAY)
    assert says in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "machines: 3", "a: [", "- x"])
def test_what_is_no_list_of_machines_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"m\.yaml"):
        read_machines(text, source="m.yaml", as_of=TODAY)
