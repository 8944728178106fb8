"""Postgres by TCP and TLS, with a certificate of a CA of our own."""
import pathlib
import shutil
import subprocess

import psycopg2

from harness import USER, Postgres, free_port


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


class TlsPostgres(Postgres):
    """On one port of each address; the certificate is for the names."""

    def __init__(self, scratch, names=("localhost",), addresses="127.0.0.1"):
        d = self.certs = scratch.dir()
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=Test CA", "-keyout", d / "ca.key",
                "-out", d / "ca.crt")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj",
                f"/CN={names[0]}", "-keyout", d / "server.key",
                "-out", d / "server.csr")
        (d / "ext").write_text("subjectAltName=" + ",".join(
            f"DNS:{n}" for n in names))
        openssl("x509", "-req", "-in", d / "server.csr", "-CA", d / "ca.crt",
                "-CAkey", d / "ca.key", "-days", "2", "-set_serial", "1",
                "-extfile", d / "ext", "-out", d / "server.crt")
        if pathlib.Path("/proc/self").owner() == "root":
            for path in d.iterdir():
                shutil.chown(path, USER, USER)
        (d / "server.key").chmod(0o600)
        self.tcp_port = free_port()
        super().__init__(scratch, [
            f"listen_addresses={addresses}", f"port={self.tcp_port}", "ssl=on",
            f"ssl_cert_file={d}/server.crt", f"ssl_key_file={d}/server.key"])

    def connect(self, name, user="owner"):
        c = psycopg2.connect(host=str(self.dir), port=self.tcp_port,
                             dbname=name, user=user)
        c.autocommit = True
        return c

    def url(self, name, user="server", hosts="localhost", ports=None):
        return (f"host={hosts} port={ports or self.tcp_port} dbname={name} "
                f"user={user} sslmode=verify-full "
                f"sslrootcert={self.certs}/ca.crt")
