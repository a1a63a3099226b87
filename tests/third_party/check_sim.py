#!/usr/bin/env python3
"""Checks `quell sim` with clients that others wrote for the provider's API.

    python3 tests/third_party/check_sim.py [path to the quell binary]

Makes a virtual environment under target/, installs the clients from PyPI, starts `quell sim` on a
free port and compares its answers with what the provider documents. Where Python's venv or PyPI is
not to be had, the check says that it was skipped; with CI=true that is a failure.
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "third_party"
PACKAGES = ["tencentcloud-sdk-python-im==0.9.4", "tls-sig-api-v2==1.1", "requests"]
APP_ID, ADMIN, KEY = 1400000001, "administrator", "5bd2850fff3ecb11d7c805251c51ee46"


def skip(why):
    print(f"skipped: {why}")
    sys.exit(1 if os.environ.get("CI") == "true" else 0)


def enter_venv():
    """Runs this file again within the environment that has the clients."""
    python = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = VENV / "installed"
    wanted = "\n".join(PACKAGES)
    if not (stamp.exists() and stamp.read_text() == wanted):
        try:
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run(pip + PACKAGES, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f"the clients cannot be installed: {error}")
        stamp.write_text(wanted)
    done = subprocess.run([str(python), __file__, *sys.argv[1:], "--inside"], check=False)
    sys.exit(done.returncode)


def binary():
    given = [arg for arg in sys.argv[1:] if arg != "--inside"]
    if given:
        return given[0]
    for profile in ("debug", "release"):
        path = ROOT / "target" / profile / "quell"
        if path.exists():
            return str(path)
    print("no quell binary: cargo build first, or name one")
    sys.exit(2)


class Sim:
    """A `quell sim --strict` of its own."""

    def __enter__(self):
        args = ["--listen", "127.0.0.1:0", "--sdk-app-id", str(APP_ID), "--identifier", ADMIN]
        args += ["--secret-key", KEY, "--strict"]
        self.process = subprocess.Popen(
            [binary(), "sim", *args], stdout=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return json.load(answer)

    def put(self, path, body):
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), method="PUT"
        )
        urllib.request.urlopen(request).close()


def expect(found, wanted, what):
    if found != wanted:
        print(f"FAILED {what}: {found!r}, not {wanted!r}")
        sys.exit(1)
    print(f"ok     {what}")


def check(sim):
    import TLSSigAPIv2
    from tencentcloud_im.tcim_client import TCIMClient

    client = TCIMClient(APP_ID, KEY, ADMIN, tencent_url=sim.url + "/v4")

    def raw(command, body):
        """Commands that the client has no method for, with the official package's UserSig."""
        sig = TLSSigAPIv2.TLSSigAPIv2(APP_ID, KEY).gen_sig(ADMIN)
        query = f"sdkappid={APP_ID}&identifier={ADMIN}&usersig={sig}&random=1&contenttype=json"
        url = f"{sim.url}/v4/group_open_http_svc/{command}?{query}"
        with urllib.request.urlopen(url, json.dumps(body).encode()) as answer:
            return json.load(answer)

    def code(answer):
        return answer.json()["ErrorCode"]

    made = raw("create_group", {"Type": "Public", "GroupId": "g", "Name": "n"})
    expect(made["ErrorCode"], 0, "the official UserSig is accepted")

    seqs = []
    for number in range(1, 13):
        element = {"MsgType": "TIMTextElem", "MsgContent": {"Text": f"message {number}"}}
        body = {"GroupId": "g", "From_Account": "ann", "Random": number, "MsgBody": [element]}
        seqs.append(raw("send_group_msg", body)["MsgSeq"])
    expect(seqs, list(range(1, 13)), "messages get dense sequences")

    answer = client.recall_group_message("g", [1, 2, 99])
    expect((answer.status_code, code(answer)), (200, 0), "a recall is answered")
    items = {item["MsgSeq"]: item["RetCode"] for item in answer.json()["RecallRetList"]}
    expect(items, {1: 0, 2: 0, 99: 10030}, "each message has its RetCode")
    again = client.recall_group_message("g", [1]).json()
    expect(again["RecallRetList"][0]["RetCode"], 10030, "a message is recalled once")
    expect(code(client.recall_group_message("g", list(range(1, 12)))), 10004, "eleven are too many")
    expect(code(client.recall_group_message("none", [1])), 10010, "an unknown group")
    recalled = [one["msg_seq"] for one in sim.get("/sim/recalled")]
    expect(recalled, [1, 2], "the simulation knows what was recalled")

    history = client.get_msg_in_group("g", 20).json()
    expect(history["ErrorCode"], 0, "history is answered")
    listed = [(one["MsgSeq"], one["IsPlaceMsg"]) for one in history["RspMsgList"]]
    wanted = [(seq, 2 if seq <= 2 else 0) for seq in range(12, 0, -1)]
    expect(listed, wanted, "history goes down and shows recalled messages")
    expect(history["IsFinished"], 1, "history ends")

    expect(code(client.forbid_send_msg("g", ["bob"], 60)), 0, "a member is muted")
    muted = raw("get_group_muted_account", {"GroupId": "g"})["MutedAccountList"]
    expect([one["Member_Account"] for one in muted], ["bob"], "and is listed")
    expect(code(client.delete_group_msg_by_sender("g", "ann")), 0, "a sender's messages go")
    expect(code(client.send_system_message_in_group("g", "be nice")), 0, "a notice is sent")
    expect(code(client.delete_group_mem("g", ["bob"])), 0, "a member is removed")

    stranger = TCIMClient(APP_ID, "another key", ADMIN, tencent_url=sim.url + "/v4")
    expect(code(stranger.recall_group_message("g", [3])), 70009, "another key is refused")
    nobody = TCIMClient(APP_ID, KEY, "nobody", tencent_url=sim.url + "/v4")
    expect(code(nobody.recall_group_message("g", [3])), 60010, "no administrator, no call")

    sim.put("/sim/faults", {"bad_gateway": 1})
    expect(client.recall_group_message("g", [3]).status_code, 502, "faults are switched on")
    sim.put("/sim/faults", {})
    expect(code(client.recall_group_message("g", [3])), 0, "and off")


if __name__ == "__main__":
    if "--inside" not in sys.argv:
        enter_venv()
    with Sim() as started:
        check(started)
    print("all fine")
