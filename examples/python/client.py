#!/usr/bin/env python3
"""client.py [USER]: calls Postern as an app and as one of its users.

Needs PyJWT (pip install PyJWT, or Debian's python3-jwt). POSTERN_URL,
POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY come from the environment.
"""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import jwt

URL = os.environ["POSTERN_URL"]
PUBLIC_KEY = os.environ["POSTERN_PUBLIC_KEY"]
SECRET_KEY = os.environ["POSTERN_SECRET_KEY"]


def mint(**claims):
    """A token that is good for a minute.

    The HMAC key is the secret key's characters as they stand, not the bytes
    that its hex stands for: no bytes.fromhex() here.
    """
    claims["exp"] = int(time.time()) + 60
    return jwt.encode(claims, SECRET_KEY, algorithm="HS256")


def app_token():
    """Without sub: it speaks for the app itself, and may do all."""
    return mint()


def user_token(user):
    if not user:
        sys.exit("a user token needs a user: the name is empty")
    return mint(sub=user)


def call(method, path, token, body=None):
    request = urllib.request.Request(URL + path, method=method, headers={
        "X-Public-Key": PUBLIC_KEY,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
    }, data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        if e.headers.get_content_type() != "application/problem+json":
            sys.exit(f"{e.code} from the web server")
        problem = json.load(e)
        sys.exit(f"{e.code} {problem['code']}: {problem['detail']}")


def main():
    user = sys.argv[1] if len(sys.argv) > 1 else "ada"
    as_app, as_user = app_token(), user_token(user)
    path = "/v1/users/" + urllib.parse.quote(user, safe="")

    who = call("GET", "/v1/whoami", as_app)
    print(f"whoami, app token: {who['app']['name']}")
    who = call("GET", "/v1/whoami", as_user)
    print(f"whoami, user token: {who['app']['name']}, {who['claims']['sub']}")
    call("PUT", path, as_app, {"city": "London"})
    print(f"stored and read: {call('GET', '/v1/me', as_user)['city']}")


main()
