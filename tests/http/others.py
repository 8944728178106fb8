"""Another app's requests, while one request of somebody else is in trouble."""
import threading
import time


class Others:
    """Another app's requests while something is wrong: each kind is counted,
    and none may be refused."""

    def __init__(self, s, cold=400):
        self.s, self.warm = s, s.register()
        s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key,"
              " master_key_id) SELECT 'cold', md5(i::text) || md5('x' || i),"
              " encrypted_secret_key, master_key_id FROM apps,"
              " generate_series(1, %s) AS i WHERE id = %s",
              cold, self.warm.id)
        self.cold = [r[0] for r in s.sql(
            "SELECT public_key FROM apps WHERE name = 'cold'")]
        assert s.request("PUT", "/v1/users/u", self.warm.auth(),
                         {"a": 1}).status == 201
        s.warm(self.warm)
        self.got = {}
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(what,))
                        for what in ("warm", "cold", "document", "ready")]

    def ask(self, what):
        if what == "warm":
            return self.s.get("/v1/whoami", self.warm.auth()).status
        if what == "document":
            return self.s.get("/v1/users/u", self.warm.auth()).status
        if what == "ready":
            return self.s.get("/readyz").status
        # Its seal is another row's: what matters is that it was looked up.
        return self.s.get("/v1/whoami", {
            **self.warm.auth(), "X-Public-Key": self.cold.pop()}).status

    def run(self, what):
        while not self.ending.is_set() and self.cold:
            status = self.ask(what)
            self.got.setdefault(what, {}).setdefault(status, 0)
            self.got[what][status] += 1
            time.sleep(0.02)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        for t in self.threads:
            t.join()
        print(self.got)

    def unharmed(self):
        assert all(n > 0 for kind in self.got.values() for n in kind.values())
        assert set(self.got) == {"warm", "cold", "document", "ready"}
        for what, answers in self.got.items():
            assert 503 not in answers, self.got
            if what != "cold":
                assert set(answers) == {200}, self.got
