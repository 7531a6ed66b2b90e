"""A real broker with TLS, users and rights: certificates made here, one listener for each way of saying who one is."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.kafka.conftest import free_ports, run, unavailable

PASSWORD = "not-a-real-password"  # of every user
KEY_PASSWORD = "not-a-real-key-password"

_PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MTLS:SSL,SCRAM:SASL_SSL,PASSWORD:SASL_PLAINTEXT,TOKEN:SASL_SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:root
auto.create.topics.enable=false
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.crt
ssl.client.auth=none
listener.name.mtls.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \\
 required unsecuredLoginStringClaim_sub="broker";
listener.name.token.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
listener.name.password.sasl.enabled.mechanisms=PLAIN
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
"""
USERS = ("root", "worker", "reader", "bare")  # root may do all; the others what a test gives them


@dataclass(frozen=True, slots=True)
class Secure:
    """A broker with a listener for each way in. `plain` is open to all, and whoever comes by it may do all."""

    plain: str
    tls: str
    mtls: str
    scram: str
    password: str
    token: str
    certificates: Path

    @property
    def bootstrap(self) -> str:
        """Return the address for whoever prepares a test."""
        return self.plain

    def security(self, way: str, user: str = "root") -> dict[str, str]:
        """Return librdkafka's settings for a way in: `tls`, `mtls`, `scram`, `password` or `token`."""
        ca = {"ssl.ca.location": str(self.certificates / "ca.crt")}
        named = {"sasl.username": user, "sasl.password": PASSWORD}
        return {
            "tls": {"security.protocol": "SSL", **ca},
            "mtls": {
                "security.protocol": "SSL",
                **ca,
                "ssl.certificate.location": str(self.certificates / "client.crt"),
                "ssl.key.location": str(self.certificates / "client.key"),
                "ssl.key.password": KEY_PASSWORD,
            },
            "scram": {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", **ca, **named},
            "password": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", **named},
            "token": {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                **ca,
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.id": user,
                "sasl.oauthbearer.client.secret": PASSWORD,
                "sasl.oauthbearer.scope": "kafka",
            },
        }[way]


@contextmanager
def secure_broker(folder: Path) -> Iterator[Secure]:
    """Run a broker under `folder` with TLS, users and rights."""
    if not shutil.which("openssl"):
        unavailable("openssl is not there to make certificates")
    if (check := run("check")).returncode != 0:
        unavailable(check.stderr.strip())
    make_certificates(folder / "certificates")
    plain, controller = free_ports()
    ports = dict(
        zip(("TLS", "MTLS", "SCRAM", "PASSWORD", "TOKEN"), (*free_ports(), *free_ports(), *free_ports()), strict=False)
    )
    more = folder / "more.properties"
    more.write_text(_properties(plain, controller, ports, folder / "certificates"))
    flags = ["--data", str(folder / "data"), "--port", str(plain), "--controller-port", str(controller)]
    started = run("start", *flags, "--more", str(more))
    if started.returncode != 0:
        pytest.fail(started.stderr.strip(), pytrace=False)
    try:
        found = Secure(f"127.0.0.1:{plain}", *(f"localhost:{one}" for one in ports.values()), folder / "certificates")
        _add_scram_users(found)
        yield found
    finally:
        run("stop", "--data", str(folder / "data"))


def _properties(plain: int, controller: int, ports: dict[str, int], certificates: Path) -> str:
    # librdkafka takes the first address of a name, which may be the one of IPv6
    host = "127.0.0.1"
    return _PROPERTIES.format(
        plain=plain,
        controller=controller,
        listeners=",".join(f"{name}://{host}:{port}" for name, port in ports.items()),
        advertised=",".join(f"{name}://localhost:{port}" for name, port in ports.items()),
        certificates=certificates,
        users=" ".join(f'user_{one}="{PASSWORD}"' for one in USERS),
    )


def _add_scram_users(broker: Secure) -> None:
    from confluent_kafka.admin import (
        AdminClient,
        ScramCredentialInfo,
        ScramMechanism,
        UserScramCredentialUpsertion,
    )

    admin = AdminClient({"bootstrap.servers": broker.plain})
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = [UserScramCredentialUpsertion(one, how, PASSWORD.encode()) for one in USERS]
    for future in admin.alter_user_scram_credentials(wanted).values():
        future.result(20)


def make_certificates(folder: Path) -> None:
    """Make an authority, the broker's certificate for `localhost` alone, a client's, and another authority."""
    folder.mkdir(parents=True)
    for name in ("ca", "other-ca"):
        _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}")  # fmt: skip
    _signed(folder, "broker", "/CN=broker", "subjectAltName=DNS:localhost")
    (folder / "broker.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.crt").read_text())
    _signed(folder, "client", "/CN=worker-1/O=shop", "extendedKeyUsage=clientAuth")
    _openssl(folder, "pkcs8", "-topk8", "-in", "client.key", "-out", "locked.key", "-v2", "aes-256-cbc",
             "-passout", f"pass:{KEY_PASSWORD}")  # fmt: skip
    (folder / "locked.key").replace(folder / "client.key")


def _signed(folder: Path, name: str, subject: str, extension: str) -> None:
    (folder / f"{name}.ext").write_text(extension + "\n")
    _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)  # fmt: skip
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext")  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def closed_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def token_server() -> Iterator[str]:
    """Give the address of an endpoint that gives unsigned tokens for `PASSWORD`, as identity providers give theirs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            user, _, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            well = password == PASSWORD and "grant_type=client_credentials" in form
            body = json.dumps({"access_token": _token(user), "expires_in": 300} if well else {"error": "no"}).encode()
            self.send_response(200 if well else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        server.server_close()


def _token(user: str) -> str:
    now_s = int(time.time())
    parts = ({"alg": "none"}, {"sub": user, "iat": now_s - 5, "exp": now_s + 300})
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."
