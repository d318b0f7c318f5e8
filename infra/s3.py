"""An S3 store on this machine: OpenStack Swift with its s3api, four servers in one process. `idiom stack` starts it.

    IDIOM_S3_ACCESS_KEY=a:b IDIOM_S3_SECRET_KEY=secret python -m infra.s3 FOLDER PORT [HOST]   # 127.0.0.1

One disk, one copy of each object; Swift's daemons for several disks (replicators, auditors) have nothing to do here.
The three servers behind the proxy listen on ports that the system chooses, anew at each start. The two variables hold
the keys of the only user; of an access key `a:b` the user is b of account a.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from infra.passwords import write_secret

_PART_POWER = 4
"""2^4 partitions. It decides where objects lie, so it may never change in a folder that has some."""
_SERVERS = ("account", "container", "object")


def configure(folder: Path, access_key: str, secret_key: str, ports: dict[str, int]) -> None:
    """Write Swift's configuration, with the user's key in it, and its rings: which port serves which partition."""
    from swift.common.ring import RingBuilder

    (folder / "disks" / "d1").mkdir(parents=True, exist_ok=True)
    account, _, user = access_key.partition(":")
    write_secret(folder / "swift.conf", f"[swift-hash]\nswift_hash_path_suffix = {_suffix(folder)}\n")
    shared = f"swift_dir = {folder}\ndevices = {folder / 'disks'}\nmount_check = false\nlog_level = WARNING"
    for name in _SERVERS:
        write_secret(folder / f"{name}-server.conf", _SERVER.format(shared=shared, name=name))
        builder = RingBuilder(_PART_POWER, 1, 0)
        device = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "d1", "meta": ""}
        address = {"ip": "127.0.0.1", "port": ports[name]}
        builder.add_dev({**device, **address, "replication_ip": "127.0.0.1", "replication_port": ports[name]})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))
    write_secret(
        folder / "proxy-server.conf",
        _PROXY.format(shared=shared, user=f"user_{account}_{user} = {secret_key} .admin"),
    )


_SERVER = """[DEFAULT]
{shared}

[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""

_BEFORE, _AFTER = "catch_errors gatekeeper healthcheck listing_formats", "copy slo dlo versioned_writes symlink"
"""Filters before and after those that know who asks; `symlink` stands right of `versioned_writes`."""
_PROXY = f"""[DEFAULT]
{{shared}}

[pipeline:main]
pipeline = {_BEFORE} s3api tempauth {_AFTER} proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
{{user}}
""" + "".join(f"\n[filter:{name}]\nuse = egg:swift#{name}\n" for name in f"{_BEFORE} {_AFTER}".split())


def _suffix(folder: Path) -> str:
    """The salt of the store's paths, made once."""
    import secrets

    path = folder / "suffix"
    if not path.exists():
        write_secret(path, secrets.token_hex(16))
    return path.read_text()


def serve(folder: Path, port: int, host: str = "127.0.0.1") -> None:
    """Serve until the process ends."""
    # Before everything else that imports threads and sockets.
    from swift.common.utils import eventlet_monkey_patch

    eventlet_monkey_patch()
    import eventlet
    import eventlet.wsgi
    from swift.common.utils import get_hub
    from swift.common.wsgi import SwiftHttpProtocol, init_request_processor

    # Not Swift's `run_server`: each call of it makes a new event loop.
    eventlet.hubs.use_hub(get_hub())
    sockets = {name: eventlet.listen(("127.0.0.1", 0), backlog=512) for name in _SERVERS}
    ports = {name: socket.getsockname()[1] for name, socket in sockets.items()}
    configure(folder, os.environ["IDIOM_S3_ACCESS_KEY"], os.environ["IDIOM_S3_SECRET_KEY"], ports)
    sockets["proxy"] = eventlet.listen((host, port), backlog=512)
    threads = []
    for name, socket in sockets.items():
        app, _, logger, _ = init_request_processor(str(folder / f"{name}-server.conf"), f"{name}-server")
        # Amazon's clients need "ETag" as it is written.
        settings = {"capitalize_response_headers": False, "protocol": SwiftHttpProtocol, "log_output": False}
        threads.append(eventlet.spawn(eventlet.wsgi.server, socket, app, logger, **settings))
    for thread in threads:
        thread.wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]).resolve(), int(sys.argv[2]), *sys.argv[3:4])
