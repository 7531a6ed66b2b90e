"""Writes the golden FOCUS files: `python tests/ingest/focus_file.py`. Values are invented, columns are FOCUS 1.2's."""

import csv
import gzip
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

FOLDER = Path(__file__).parents[1] / "golden" / "focus"
# fmt: off
COLUMNS = [
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType",
    "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId",
    "CapacityReservationStatus", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType",
    "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice",
    "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingCurrency", "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId",
    "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName",
    "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName",
    "SubAccountType", "Tags", "x_Operation", "x_ServiceCode",
]
# fmt: on
EC2, RDS, EKS = (
    "Amazon Elastic Compute Cloud",
    "Amazon Relational Database Service",
    "Amazon Elastic Kubernetes Service",
)


def line(
    day: str,
    cost: str,
    service: str,
    resource: str = "",
    tags: dict[str, str] | None = None,
    hours: tuple[str, str] = ("", ""),
    **more: str,
) -> dict[str, str]:
    """Return one line of a bill; `hours` within the day, or all of it."""
    year, month, number = (int(part) for part in day.split("-"))
    end = f"{year}-{month:02}-{number + 1:02}T00:00:00Z"
    said = {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ContractedCost": cost,
        "BillingAccountId": "111111111111",
        "BillingAccountName": "example",
        "BillingCurrency": "USD",
        "BillingPeriodStart": "2026-08-01T00:00:00Z",
        "BillingPeriodEnd": "2026-09-01T00:00:00Z",
        "ChargePeriodStart": f"{day}T{hours[0]}Z" if hours[0] else f"{day}T00:00:00Z",
        "ChargePeriodEnd": f"{day}T{hours[1]}Z" if hours[1] else end,
        "ChargeCategory": "Usage",
        "ChargeDescription": "$0.10 per hour, on demand",
        "ChargeFrequency": "Usage-Based",
        "InvoiceIssuerName": "Amazon Web Services, Inc.",
        "PricingQuantity": "1.0",
        "PricingUnit": "Hours",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "RegionId": "eu-west-1",
        "ResourceId": resource,
        "ServiceCategory": "Compute",
        "ServiceName": service,
        "SubAccountId": "222222222222",
        "Tags": json.dumps(tags) if tags else "{}",
        "x_ServiceCode": "AmazonEC2",
    }
    return said | more


LINES = [
    line("2026-08-01", "0.1", EC2, tags={"app": "store"}, hours=("00:00:00", "01:00:00")),
    line("2026-08-01", "0.2", EC2, tags={"app": "store"}, hours=("01:00:00", "02:00:00")),
    line("2026-08-01", "0.3", EC2, tags={"App": "store", "team": "a"}, hours=("02:00:00", "03:00:00")),
    line("2026-08-02", "0.5", EC2, tags={"app": "store"}),
    line("2026-08-01", "1.5", EKS, tags={"aws:eks:namespace": "shop", "aws:eks:deployment": "payments"}),
    line("2026-08-01", "12.25", RDS, "arn:aws:rds:eu-west-1:222222222222:db:orders", {"app": "store"}),
    line("2026-08-01", "3.75", EC2, "i-0123456789abcdef0", {"team": "a"}),
    line("2026-08-01", "0.25", EC2, SubAccountId=""),
]


def as_csv() -> bytes:
    """Return the lines as CSV with every column of FOCUS 1.2 and two of AWS's own."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(LINES)
    return out.getvalue().encode()


def as_parquet() -> bytes:
    """Return the lines as AWS Data Exports write Parquet: doubles, timestamps, tags as a map, and nulls for nothing."""
    names = [name for name in COLUMNS if name in LINES[0]]
    columns: dict[str, pl.Series] = {}
    for name in names:
        values: list[Any] = [one[name] or None for one in LINES]
        if name.endswith(("Cost", "Quantity")):
            columns[name] = pl.Series([float(one) for one in values], dtype=pl.Float64)
        elif name.endswith(("Start", "End")):
            columns[name] = pl.Series([datetime.fromisoformat(one) for one in values], dtype=pl.Datetime("ms", "UTC"))
        elif name == "Tags":
            pairs = [[{"key": key, "value": value} for key, value in json.loads(one).items()] for one in values]
            columns[name] = pl.Series(pairs, dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
        else:
            columns[name] = pl.Series(values, dtype=pl.String)
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out, compression="snappy")
    return out.getvalue()


if __name__ == "__main__":
    (FOLDER / "focus-1.2.csv.bin").write_bytes(as_csv())
    (FOLDER / "focus-1.2.csv.gz.bin").write_bytes(gzip.compress(as_csv(), mtime=0))
    (FOLDER / "focus-1.2.parquet.bin").write_bytes(as_parquet())
