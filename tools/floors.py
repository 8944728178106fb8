"""The house: its floors, who may call whom, and where each library is met. For
check-includes, check-symbols and house."""
import pathlib
import re

# From the bottom, with what each is for; those that share a number don't call
# each other.
FLOORS = {
    "base": (0, "settings, texts, secrets, the libraries' edges"),
    "data": (1, "Postgres: the link, and SQL"),
    "http": (2, "FastCGI in, HTTP out"),
    "auth": (3, "who is asking: yes or no"),
    "api": (4, "the routes and what answers them"),
    "serve": (5, "the life of the server's processes"),
    "cli": (5, "the operator's tool"),
}

# Each library: its headers, what its symbols begin with, and the files that
# meet it: one, but for libcrypto, whose public keys are another matter.
LIBRARIES = {
    "libfcgi": (("fcgiapp.h",), ("FCGX_", "OS_"), ("http/fcgi",)),
    "libpq": (("libpq-fe.h",), ("PQ",), ("data/wire",)),
    "libjwt": (("jwt.h",), ("jwt_",), ("auth/token",)),
    "json-c": (("json.h",), ("json_c_", "json_object_", "json_tokener_"),
               ("base/json",)),
    "libcrypto": (("openssl/",), ("BIO_", "BN_", "CRYPTO_", "ECDSA_", "ERR_",
                                  "EVP_", "OPENSSL_", "OSSL_", "PEM_", "RAND_",
                                  "SHA", "d2i_"),
                  ("base/crypto", "base/crypto_key")),
    "libcurl": (("curl/",), ("curl_",), ("cli/http",)),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def number(floor):
    return FLOORS[floor][0]


def may_call(floor, other):
    """May a file of floor use what is another floor's?"""
    return floor == other or number(other) < number(floor)


def files(*tops):
    """The C files and headers below src and include, sorted."""
    return sorted(p for top in tops or ("src", "include")
                  for p in pathlib.Path(top).glob("*/*.[ch]"))


def includes(path):
    """(line, whether it is in quotes, name) of each #include of a file."""
    for n, line in enumerate(path.read_text().splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            yield n, m.group(1) == '"', m.group(2)
