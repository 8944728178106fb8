"""What the suites share: processes, Postgres, FastCGI, tokens, and Postern with
its web server. Everything lives in one temporary directory, on Unix sockets and
free ports of 127.0.0.1, runs unprivileged when the tests run as root, and is
ended by process id."""
