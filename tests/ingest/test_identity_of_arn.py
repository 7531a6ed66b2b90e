"""What an AWS resource is to those who depend on it, and what a repository delivers."""

import pytest

from ingest.identity import Identity

DEMO = Identity("demo")
AT = "eu-west-1:123456789012"


@pytest.mark.parametrize(
    ("arn", "entity"),
    [
        (f"arn:aws:ecs:{AT}:service/shop/checkout", "demo/service/default/checkout"),
        (f"arn:aws:ecs:{AT}:service/checkout", "demo/service/default/checkout"),
        (f"arn:aws:ecs:{AT}:task-definition/checkout:17", "demo/service/default/checkout"),
        (f"arn:aws:eks:{AT}:cluster/prod-1", "demo/service/default/prod-1"),
        (f"arn:aws:eks:{AT}:nodegroup/prod-1/workers/0ab1-22", "demo/service/default/prod-1"),
        (f"arn:aws:lambda:{AT}:function:resize:live", "demo/service/default/resize"),
        (f"arn:aws:elasticloadbalancing:{AT}:loadbalancer/app/front/50dc6c495c0c9188", "demo/service/default/front"),
        (f"arn:aws:elasticloadbalancing:{AT}:loadbalancer/classic", "demo/service/default/classic"),
        (f"arn:aws:autoscaling:{AT}:autoScalingGroup:5-6:autoScalingGroupName/web", "demo/service/default/web"),
        (f"arn:aws:ec2:{AT}:instance/i-0abc", "demo/node/-/i-0abc"),
        (f"arn:aws:rds:{AT}:db:orders", "demo/database/-/orders"),
        (f"arn:aws:dynamodb:{AT}:table/carts/index/by-user", "demo/database/-/carts"),
        (f"arn:aws:elasticache:{AT}:replicationgroup:sessions", "demo/database/-/sessions"),
        ("arn:aws:s3:::invoices/2026/08/a.pdf", "demo/database/-/invoices"),
        (f"arn:aws:sqs:{AT}:mails", "demo/queue/-/mails"),
        (f"arn:aws:sns:{AT}:alerts:11-22", "demo/queue/-/alerts"),
        (f"arn:aws:kinesis:{AT}:stream/clicks", "demo/queue/-/clicks"),
        (f"arn:aws:cloudformation:{AT}:stack/network/11-22", "demo/ci/-/network"),
        (f"arn:aws:ecr:{AT}:repository/team/checkout", "demo/ci/-/checkout"),
        ("arn:aws-cn:iam::123456789012:role/admin", "demo/account/-/123456789012"),
        (f"arn:aws:ec2:{AT}:security-group/sg-1", "demo/account/-/123456789012"),
        ("arn:aws:route53:::hostedzone/Z1", "demo/account/-/route53"),
        ("no arn", "demo/account/-/unattributed"),
        ("", "demo/account/-/unattributed"),
    ],
)
def test_a_resource_is_what_others_depend_on(arn: str, entity: str) -> None:
    assert DEMO.of_arn(arn) == entity


@pytest.mark.parametrize(
    ("path", "environment", "production", "entity"),
    [
        ("group/sub/checkout", "production", None, "demo/service/default/checkout"),
        ("group/checkout", "", None, "demo/service/default/checkout"),
        ("group/checkout", "prod-eu", None, "demo/service/default/checkout"),
        ("group/checkout", "product-tests", None, "demo/service/product-tests/checkout"),
        ("group/checkout", "staging", None, "demo/service/staging/checkout"),
        ("group/checkout", "review/feature-1", False, "demo/service/review_feature-1/checkout"),
        ("group/checkout", "eu-1", True, "demo/service/default/checkout"),
    ],
)
def test_a_repository_delivers_a_service(path: str, environment: str, production: bool | None, entity: str) -> None:
    assert DEMO.deployed(path, environment, production) == entity


def test_overrides_reach_resources_and_repositories() -> None:
    overrides = {
        "arn=arn:aws:rds:eu-west-1:1:db:orders": "demo/database/shop/orders-db",
        "ci=group/checkout": "demo/service/shop/checkout",
        "environment=qa": "demo/service/qa/everything",
    }
    identity = Identity("demo", overrides=overrides)
    assert identity.of_arn("arn:aws:rds:eu-west-1:1:db:orders") == "demo/database/shop/orders-db"
    assert identity.deployed("group/checkout", "staging") == "demo/service/shop/checkout"
    assert identity.ci("group/checkout") == "demo/service/shop/checkout"
    assert identity.deployed("group/store", "qa") == "demo/service/qa/everything"
