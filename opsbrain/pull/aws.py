"""Clients of AWS, and what goes wrong with them, in one line and without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from engine.errors import ConfigError, SourceError
from opsbrain.secrets import Secret

CONNECT_S: Final = 10
READ_S: Final = 30


def aws_client(
    service: str, key: str, region: str, endpoint_url: str, access_key_id: Secret, secret_access_key: Secret
) -> Any:
    """Return a client of boto3; `key` names the settings in errors.

    Raises ConfigError when a secret cannot be had, or when it is not known where to ask.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    user, secret = access_key_id.reveal(f"{key}.access_key_id"), secret_access_key.reveal(f"{key}.secret_access_key")
    if bool(user) != bool(secret):
        raise ConfigError(f"{key}: access_key_id and secret_access_key belong together")
    try:
        return boto3.session.Session().client(
            service,
            region_name=region or None,
            endpoint_url=endpoint_url or None,
            aws_access_key_id=user or None,
            aws_secret_access_key=secret or None,
            config=Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"{key}: {_line(error)}") from error


@contextmanager
def aws_errors(what: str, special: Mapping[str, type[Exception]] = MappingProxyType({})) -> Iterator[None]:
    """Turn errors of boto3 into SourceError: `what`, and why; those whose code is `special` into what stands there."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:  # its text may hold names of keys and users; its code says what is wrong
        code = error.response.get("Error", {}).get("Code", "refused")
        raise special.get(code, SourceError)(f"{what}: {code}") from error
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
        raise SourceError(f"{what}: {_line(error)}") from error
    except (ResponseParserError, ValueError, LookupError, TypeError, AttributeError) as error:
        # boto3 takes an answer of 200 to be one of AWS, and fails of it wherever it is not
        raise SourceError(f"{what}: what answers is not AWS, nor like it: {type(error).__name__}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
