"""Certificates for the TLS tests, made by the openssl tool."""
import ssl
import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.ca = self.folder / "ca.pem"
        self.key = self.folder / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                      "2",
                      "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.ca)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)

    def certificate(self, names=(), days="1"):
        """(certificate, key) files for these names: addresses or DNS names."""
        self.count += 1
        base = self.folder / f"cert{self.count}"
        key, request, cert, more = (base.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        alternatives = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in names)
        more.write_text(f"subjectAltName={alternatives}\n" if names else "basicConstraints=CA:FALSE\n")
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                      "/CN=cqlferry test", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days",
                      days,
                      "-extfile", more, "-out", cert)
        return cert, key

    def server(self, names=(), client_ca=None, days="1"):
        """A context for a node; client_ca: it demands certificates of that authority. seen_names gathers SNI names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(names, days))
        if client_ca is not None:
            context.load_verify_locations(client_ca.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        context.seen_names = []
        context.sni_callback = lambda sock, name, ctx: context.seen_names.append(name)
        return context

    def client(self, own=None, minimum=None, maximum=None):
        """A context for a driver that trusts this authority; own: (certificate, key)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.ca)
        if own is not None:
            context.load_cert_chain(*own)
        if minimum is not None:
            context.minimum_version = minimum
        if maximum is not None:
            context.maximum_version = maximum
        return context
