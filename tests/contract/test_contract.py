"""The contract, /openapi.json, by other people's rules; and properties that
hold for whatever is sent."""
import json
import os
import pathlib
import subprocess

from lib.process import PATIENCE, REPO

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = REPO / "src/api/openapi.json"


def spectral(path):
    return subprocess.run(
        ["node", HERE / "node_modules/@stoplight/spectral-cli/dist/index.js",
         "lint", path, "-r", HERE / "ruleset.yaml", "-f", "text",
         "--fail-severity=hint"], capture_output=True, text=True,
        timeout=6 * PATIENCE, cwd=HERE)


def test_rules_of_others(tmp_path):
    doc = json.loads(SOURCE.read_text())
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(doc, indent=1))  # it complains of tabs
    r = spectral(path)
    assert r.returncode == 0, r.stdout
    # It does look.
    del doc["paths"]["/v1/app"]["get"]["responses"]
    doc["paths"]["/v1/app"]["get"]["operationId"] = "getUser"
    path.write_text(json.dumps(doc, indent=1))
    r = spectral(path)
    assert r.returncode == 1 and "operationId" in r.stdout, r.stdout


def test_properties(site):
    app = site.register()
    r = subprocess.run(
        ["node", HERE / "properties.mjs"], capture_output=True, text=True,
        timeout=9 * PATIENCE, env={
            **os.environ, "SITE": f"http://127.0.0.1:{site.port}",
            "PUBLIC_KEY": app.public, "TOKEN": app.token(exp=3600)})
    assert r.returncode == 0, r.stdout + r.stderr
