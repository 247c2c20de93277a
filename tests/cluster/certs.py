#!/usr/bin/env python3
"""Certificates for the demo and the tests, made on the spot by the openssl tool.

As a command:

    certs.py DIR NAME[,IP...] ...    a certificate authority in DIR (ca.pem, ca.key; kept if it is there) and for
                                     each argument NAME.pem and NAME.key, signed by it and valid for the addresses

Everything is written for throwaway clusters: keys have no passphrase and certificates live for a month.
"""

import ipaddress
import pathlib
import subprocess
import sys

STORE_PASSWORD = "cqlferry"
_DAYS = "30"


class CertificateError(Exception):
    pass


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CertificateError("%s: %s" % (" ".join(command[:3]), done.stderr.strip()))
    return done.stdout


class Authority:
    """A certificate authority that lives in a folder."""

    def __init__(self, directory, name="cqlferry throwaway CA"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cert = self.directory / "ca.pem"
        self.key = self.directory / "ca.key"
        if not self.cert.exists():
            _run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", _DAYS, "-subj", "/CN=" + name, "-keyout", str(self.key), "-out", str(self.cert))

    def issue(self, name, addresses=(), days=_DAYS):
        """Makes NAME.pem and NAME.key and returns both paths; addresses become subject alternative names."""
        cert = self.directory / (name + ".pem")
        key = self.directory / (name + ".key")
        request = self.directory / (name + ".csr")
        _run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=" + name, "-keyout", str(key), "-out", str(request))
        extensions = self.directory / (name + ".ext")
        lines = ["extendedKeyUsage=serverAuth,clientAuth"]
        if addresses:
            lines.append("subjectAltName=" + ",".join(_alternative_name(a) for a in addresses))
        extensions.write_text("\n".join(lines) + "\n")
        _run("openssl", "x509", "-req", "-in", str(request), "-CA", str(self.cert), "-CAkey", str(self.key),
             "-CAcreateserial", "-days", days, "-extfile", str(extensions), "-out", str(cert))
        request.unlink()
        extensions.unlink()
        return cert, key

    def keystore(self, name):
        """The PKCS#12 file that a JVM reads as key store, from NAME.pem and NAME.key."""
        store = self.directory / (name + ".p12")
        _run("openssl", "pkcs12", "-export", "-name", name, "-in", str(self.directory / (name + ".pem")),
             "-inkey", str(self.directory / (name + ".key")), "-certfile", str(self.cert),
             "-passout", "pass:" + STORE_PASSWORD, "-out", str(store))
        return store

    def truststore(self, keytool):
        """The authority alone as a JVM trust store. OpenSSL 3.0 cannot mark a certificate as trusted, keytool can."""
        store = self.directory / "trust.p12"
        if not store.exists():
            _run(str(keytool), "-importcert", "-noprompt", "-alias", "ca", "-file", str(self.cert),
                 "-keystore", str(store), "-storetype", "PKCS12", "-storepass", STORE_PASSWORD)
        return store


def _alternative_name(address):
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "DNS:" + address
    return "IP:" + address


def main(arguments):
    if len(arguments) < 2 or arguments[0].startswith("-"):
        sys.stderr.write(__doc__)
        return 2
    try:
        authority = Authority(arguments[0])
        print("authority    %s" % authority.cert)
        for item in arguments[1:]:
            name, *addresses = item.split(",")
            cert, _ = authority.issue(name, addresses)
            print("certificate  %s" % cert)
    except CertificateError as error:
        sys.stderr.write("certs.py: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
