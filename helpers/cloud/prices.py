"""What the roads into the cloud cost, in one place: list prices, and what so many predictions a month come to.

A number of predictions a month comes in, US dollars go out, as a range: its low end is us-east-1, its high end half as
much again, which is about what the dearest regions ask. List prices on demand as of 2025, without free tiers, discounts
or traffic; to be held against the pages now and then:
https://aws.amazon.com/ec2/pricing/on-demand/, https://aws.amazon.com/lambda/pricing/,
https://aws.amazon.com/sagemaker/pricing/, whose tables no copy of the page holds: what SageMaker's prices rest on
stands beside them.
"""

from __future__ import annotations

import math

AS_OF = "2025"
DEAREST = 1.5  # times the price in us-east-1
HOURS = 730  # in a month

EC2_HOUR = {"t3.micro": 0.0104, "t3.small": 0.0208, "t3.medium": 0.0416, "t3.large": 0.0832, "t4g.small": 0.0168}
ADDRESS_HOUR, DISK_MONTH = 0.005, 0.08  # a public IPv4 address; a GB of gp3 disk

LAMBDA_MILLION = 0.20  # requests
LAMBDA_GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
LAMBDA_A_SECOND = 10  # requests at most, by each environment of a function that runs at the same time

# Read in November 2026, second-hand, as AWS's page shows its tables by a script only:
# - all but that of ml.m5.large are what a tool of AWS's own reckons with (of October 2022, no region named):
#   https://github.com/aws-samples/sagemaker-serverless-inference-benchmarking, cost_constants.py
# - ml.m5.large: 0.115 in several public tables for us-east-1, and 0.128 in Ireland, like 0.016 a GB of data there, on a
#   bill of December 2023: https://github.com/aws-samples/sagemaker-ssh-helper, Sample_Costs.md
# Other public tables, undated, say 0.065 and 0.134 for the two machines, a sixth more: within the range.
SAGEMAKER_HOUR = {"ml.t2.medium": 0.056, "ml.m5.large": 0.115}  # an endpoint that is always there; a transform
SAGEMAKER_GB_SECOND = 0.00002  # a serverless one
SAGEMAKER_GB = 0.016  # of data, in and out, of a serverless one

Range = tuple[float, float]  # US dollars: us-east-1, dearest region


def ec2(predictions: float, per_second: float, instance: str = "t3.small", disk_gb: int = 16) -> Range:
    """Dollars a month for machines that are always on, as many as it takes where one answers `per_second`."""
    machines = _machines(predictions, per_second)
    return _range(machines * (HOURS * (EC2_HOUR[instance] + ADDRESS_HOUR) + disk_gb * DISK_MONTH))


def on_lambda(predictions: float, seconds: float, gigabytes: float = 1.0, machine: str = "x86_64") -> Range:
    """Dollars a month for a function that takes `seconds` for a prediction, each begun millisecond counted."""
    billed = math.ceil(seconds * 1000) / 1000
    return _range(predictions * (LAMBDA_MILLION / 1e6 + billed * gigabytes * LAMBDA_GB_SECOND[machine]))


def lambda_at_most(concurrency: int, gigabytes: float, machine: str = "x86_64") -> float:
    """Dollars an hour in us-east-1 for a function that strangers call as often as its limit lets them."""
    computing = concurrency * gigabytes * LAMBDA_GB_SECOND[machine]
    return 3600 * (computing + concurrency * LAMBDA_A_SECOND * LAMBDA_MILLION / 1e6)


def sagemaker(predictions: float, per_second: float, instance: str = "ml.t2.medium") -> Range:
    """Dollars a month for a SageMaker endpoint that is always there, with as many instances as it takes."""
    return _range(_machines(predictions, per_second) * HOURS * SAGEMAKER_HOUR[instance])


def sagemaker_serverless(predictions: float, seconds: float, gigabytes: float = 1.0, kilobytes: float = 1.0) -> Range:
    """Dollars a month for a serverless SageMaker endpoint; kilobytes: of each request and answer together."""
    return _range(predictions * (seconds * gigabytes * SAGEMAKER_GB_SECOND + kilobytes / 1e6 * SAGEMAKER_GB))


def _machines(predictions: float, per_second: float) -> int:
    """How many it takes for so many predictions a month, where each answers `per_second`."""
    return max(1, math.ceil(predictions / (HOURS * 3600) / per_second))


def _range(dollars: float) -> Range:
    return dollars, dollars * DEAREST
