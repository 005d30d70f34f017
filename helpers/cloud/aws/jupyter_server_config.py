"""JupyterLab on a public machine: whoever gets in can run any program there, so the door has a lock, always.

By default it listens on 127.0.0.1, out of reach of the internet, and one comes through an SSH tunnel. With JUPYTER_HOST
it listens where the internet can reach it, and then starts only with a certificate (TLS): without one the token would
cross the network in the clear. The token is made on this machine, in a file that only the service's user can read.
"""

import ipaddress
import os
import secrets
from pathlib import Path

host = os.environ.get("JUPYTER_HOST", "127.0.0.1")
certificate, key = os.environ.get("JUPYTER_CERTIFICATE", ""), os.environ.get("JUPYTER_KEY", "")
token_file = Path(os.environ.get("JUPYTER_STATE") or Path.home()) / "jupyter-token"

if not ipaddress.ip_address(host).is_loopback and not (certificate and key):
    raise SystemExit(
        f"JupyterLab does not start on {host} without TLS: set JUPYTER_CERTIFICATE and JUPYTER_KEY to the files of a "
        "certificate and its key, or leave JUPYTER_HOST out and come through an SSH tunnel."
    )
if not token_file.exists():
    with open(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32))

c = get_config()  # noqa: F821  Jupyter hands this function to its configuration files
c.ServerApp.ip = host
c.ServerApp.port = int(os.environ.get("JUPYTER_PORT", "8888"))
c.ServerApp.port_retries = 0  # on another port nobody would find it
c.ServerApp.open_browser = False
c.ServerApp.certfile, c.ServerApp.keyfile = certificate, key
c.IdentityProvider.token = token_file.read_text().strip()  # a token from here is not written to the log
# JupyterLab would look for a newer release and for news whenever its page is opened.
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
c.LabApp.news_url = None
