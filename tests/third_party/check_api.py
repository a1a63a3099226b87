#!/usr/bin/env python3
"""Checks the API against its own description with schemathesis.

    python3 tests/third_party/check_api.py [path to the quell binary]

Makes a virtual environment under target/, installs schemathesis from PyPI, starts `quell serve`
opposite `quell sim`, has some messages recorded, and sends what the description allows and what it
does not: no answer may be a server error, or one that the description does not have. Where Python's
venv or PyPI is not to be had, the check says that it was skipped; with CI=true that is a failure.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "third_party_api"
PACKAGES = ["schemathesis==4.32.5"]
APP_ID, ADMIN, KEY = 1400000001, "administrator", "5bd2850fff3ecb11d7c805251c51ee46"
CALLBACK_TOKEN, TOKEN = "callback-token", "operator-token"
RULES = """
version: 1
rules:
  - id: contact-bait
    when: { keyword: [bad, 加微信领红包] }
  - id: curious
    actions: [flag]
    when: { keyword: odd }
"""
# Events never end, so no client of this kind can wait for their answer: tests/it/events.rs does.
EXCLUDED = ["/api/v1/events"]
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


def skip(why):
    print(f"skipped: {why}")
    sys.exit(1 if os.environ.get("CI") == "true" else 0)


def schemathesis():
    """The command, installed where it is not yet."""
    command, stamp = VENV / "bin" / "st", VENV / "installed"
    wanted = "\n".join(PACKAGES)
    if not (stamp.exists() and stamp.read_text() == wanted):
        try:
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
            pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run(pip + ["--disable-pip-version-check"] + PACKAGES, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f"schemathesis cannot be installed: {error}")
        stamp.write_text(wanted)
    return str(command)


def binary():
    if len(sys.argv) > 1:
        # The daemon runs in a folder of its own.
        return str(pathlib.Path(sys.argv[1]).resolve())
    for profile in ("debug", "release"):
        path = ROOT / "target" / profile / "quell"
        if path.exists():
            return str(path)
    print("no quell binary: cargo build first, or name one")
    sys.exit(2)


def start_sim():
    args = ["--listen", "127.0.0.1:0", "--sdk-app-id", str(APP_ID), "--identifier", ADMIN]
    args += ["--secret-key", KEY]
    process = subprocess.Popen([binary(), "sim", *args], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def start_daemon(folder, chat):
    (folder / "rules.yaml").write_text(RULES)
    settings = {
        "server.listen": "127.0.0.1:0",
        "admin.listen": "127.0.0.1:0",
        "admin.token": TOKEN,
        "chat.sdk_app_id": APP_ID,
        "chat.secret_key": KEY,
        "chat.callback_token": CALLBACK_TOKEN,
        "chat.base_url": chat,
        "store.url": f"sqlite:{folder / 'quell.db'}",
        "rules.path": folder / "rules.yaml",
    }
    command = [binary(), "serve"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    log = []
    for line in process.stderr:
        log.append(line)
        said = json.loads(line) if line.startswith("{") else {}
        if "callbacks" in said:
            # What it says from here on is kept for the case that something is wrong.
            threading.Thread(target=lambda: log.extend(process.stderr), daemon=True).start()
            return process, f"http://{said['callbacks']}", f"http://{said['admin']}", log
    sys.exit("the daemon ended before it listened:\n" + "".join(log))


def say(callbacks, seq, text):
    """Has a message recorded, as Chat would."""
    now = str(int(time.time()))
    query = urllib.parse.urlencode({
        "SdkAppid": APP_ID,
        "CallbackCommand": "Group.CallbackAfterSendMsg",
        "contenttype": "json",
        "ClientIP": "127.0.0.1",
        "OptPlatform": "Web",
        "RequestTime": now,
        "Sign": hashlib.sha256((CALLBACK_TOKEN + now).encode()).hexdigest(),
    })
    body = {
        "CallbackCommand": "Group.CallbackAfterSendMsg", "GroupId": "@TGS#EXAMPLE",
        "Type": "Public", "From_Account": "mallory", "MsgSeq": seq, "MsgTime": int(now),
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}],
    }
    request = urllib.request.Request(f"{callbacks}/callback?{query}", json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def check(command, folder, callbacks, admin):
    for seq, text in enumerate(["fine", "bad", "odd", "加微信领红包", "fine again"], 1):
        say(callbacks, seq, text)
    run = [command, "run", f"{admin}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"]
    run += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"]
    run += ["--max-examples", "10", "--max-time", "45", "--request-timeout", "20", "--seed", "1"]
    run += ["--warnings", "off", "--no-color", "--continue-on-failure"]
    for path in EXCLUDED:
        run += ["--exclude-path", path]
    return subprocess.run(run, cwd=folder, check=False)


def main():
    command = schemathesis()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sim, chat = start_sim()
        try:
            daemon, callbacks, admin, log = start_daemon(folder, chat)
            try:
                done = check(command, folder, callbacks, admin)
                ready = urllib.request.urlopen(f"{admin}/readyz").status
            finally:
                daemon.terminate()
                code = daemon.wait()
        finally:
            sim.terminate()
            sim.wait()
    if done.returncode or code or ready != 200:
        print("".join(log[-50:]))
        sys.exit(f"schemathesis ended with {done.returncode}, the daemon with {code}")


main()
