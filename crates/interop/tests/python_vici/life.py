"""A tunnel's life, driven by the `vici` package of PyPI: life.py SOCKET LOCAL REMOTE.

Whatever is not as it should be ends it with an exception.
"""

import socket
import sys
import threading

import vici

SECRET = "correct horse battery staple"


def session(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return vici.Session(stream)


def connection(local, remote):
    child = {
        "local_ts": ["10.1.0.0/24"],
        "remote_ts": ["10.2.0.0/24"],
        "esp_proposals": ["aes128gcm16"],
    }
    return {
        "site": {
            "version": "2",
            "local_addrs": [local],
            "remote_addrs": [remote],
            "proposals": ["aes128gcm16-prfsha256-x25519"],
            "local": {"auth": "psk", "id": "a.example.org"},
            "remote": {"auth": "psk", "id": "b.example.org"},
            "children": {"net": child},
        }
    }


def watch(path, wanted, seen):
    """Collects events until each that is wanted has come."""
    listening = session(path)
    for name, message in listening.listen(list(wanted) + ["log"], timeout=None):
        if name is None:
            continue
        name = name.decode()
        if name == "log":
            seen.setdefault("log", message)
        else:
            seen.setdefault((name, message.get("up") == b"yes"), message)
        if all(any(key[0] == event for key in seen if key != "log") for event in wanted):
            if ("ike-updown", False) in seen:
                return


def main(path, local, remote):
    charge = session(path)
    version = charge.version()
    assert version["daemon"] == b"keyway", version

    secret = {"type": "IKE", "id": "ike-site", "data": SECRET, "owners": ["a.example.org", "b.example.org"]}
    charge.load_shared(secret)
    charge.load_conn(connection(local, remote))
    assert charge.get_conns()["conns"] == [b"site"]
    assert charge.get_shared()["keys"] == [b"ike-site"]
    [listed] = list(charge.list_conns())
    assert list(listed) == ["site"] and "net" in listed["site"]["children"], listed

    seen = {}
    wanted = {"ike-updown", "child-updown", "child-rekey", "ike-rekey"}
    watching = threading.Thread(target=watch, args=(path, wanted, seen), daemon=True)
    watching.start()
    # It says nothing when it listens, so that something happens until it has been seen.
    while "log" not in seen:
        lines = list(charge.initiate({"child": "net", "timeout": "30000", "loglevel": "2"}))
        assert lines and all("msg" in line and "group" in line for line in lines), lines
        charge_all_down(charge)
    list(charge.initiate({"child": "net", "timeout": "30000"}))
    [sa] = list(charge.list_sas({"ike": "site"}))
    assert sa["site"]["state"] == b"ESTABLISHED", sa
    [child] = sa["site"]["child-sas"].values()
    assert child["state"] == b"INSTALLED", child
    assert charge.rekey({"child": "net", "timeout": "30000"})["matches"] == b"1"
    assert charge.rekey({"ike": "site", "timeout": "30000"})["matches"] == b"1"
    counters = charge.get_counters({"name": "site"})["counters"]["site"]
    assert int(counters["child-rekey"]) >= 1 and int(counters["ike-rekey-init"]) >= 1, counters

    try:
        list(charge.initiate({"child": "nobody"}))
        raise AssertionError("nobody came up")
    except vici.exception.CommandException as refusal:
        assert "nobody" in str(refusal), refusal

    charge_all_down(charge)
    watching.join(60)
    assert not watching.is_alive(), f"events are missing; there were {sorted(map(str, seen))}"
    assert list(charge.list_sas()) == []
    charge.unload_conn({"name": "site"})
    charge.unload_shared({"id": "ike-site"})
    assert charge.get_conns()["conns"] == [] and charge.get_shared()["keys"] == []
    print("a whole life")


def charge_all_down(charge):
    lines = list(charge.terminate({"ike": "site", "timeout": "30000"}))
    assert all("msg" in line for line in lines), lines


main(*sys.argv[1:])
