"""A mail server that keeps what it is sent: aiosmtpd, for tests.

Says where it listens as a line `smtp://127.0.0.1:PORT`, then each mail as a line of JSON.
Arguments: the port (0: any), and where to put the certificate of an own authority (`-`: no TLS).
"""

import asyncio
import datetime
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def say(text):
    print(text, flush=True)


class Keep:
    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode("utf-8", "replace")
        say(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "text": text,
            "tls": session.ssl is not None, "user": session.auth_data,
        }))
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"tresor", b"open sesame")
    return AuthResult(success=good, handled=False, auth_data="tresor" if good else None)


def certificate(place):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)

    def make(name, key, issuer, issuer_key, extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256())

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = make("test authority", authority_key, "test authority", authority_key,
                     [(x509.BasicConstraints(ca=True, path_length=0), True)])
    server = make("localhost", key, "test authority", authority_key, [
        (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
        (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
    ])
    pem = serialization.Encoding.PEM
    with open(place, "wb") as file:
        file.write(authority.public_bytes(pem))
    with open(place + ".server", "wb") as file:
        file.write(server.public_bytes(pem))
        file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place + ".server")
    return context


async def main():
    port, place = int(sys.argv[1]), sys.argv[2]
    context = None if place == "-" else certificate(place)

    def smtp():
        return SMTP(Keep(), hostname="localhost", tls_context=context,
                    require_starttls=context is not None, auth_require_tls=context is not None,
                    authenticator=authenticate, enable_SMTPUTF8=True)

    server = await asyncio.get_running_loop().create_server(smtp, "127.0.0.1", port)
    say("smtp://127.0.0.1:%d" % server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
