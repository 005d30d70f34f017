"""What SageMaker does with an archive and an image, on this machine: the container runs, and answers /invocations.

With podman or docker, and the image, it is that container; without, the same application in this process, over a real
socket. For the simulated account, whose endpoints answer nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

from helpers.cloud.model_archive import Archive
from helpers.cloud.sagemaker import MOST_BYTES
from helpers.export.served import ask, open_directly
from helpers.serving.serve_command import free_port

START_SECONDS = 60
IMAGE = "keras-flask-tutorial"


class Hosts:
    """Runs archives by the names of their variants; to be used in `with`.

    image: of the service, built from the Containerfile; None: without a container. `.kind` says what answers.
    """

    def __init__(self, archives: dict[str, Archive], image: str | None = IMAGE):
        self._archives, self._stack, self.urls = archives, contextlib.ExitStack(), {}
        program = shutil.which("podman") or shutil.which("docker")
        has_image = (
            program and image and subprocess.run([program, "image", "inspect", image], capture_output=True, check=False)
        )
        self._program, self._image = (program, image) if has_image and has_image.returncode == 0 else (None, None)
        self.kind = (
            f"container of {image} under {Path(program).name}" if self._program else "application in this process"
        )

    def __enter__(self) -> Hosts:
        with contextlib.ExitStack() as stack:
            for name, archive in self._archives.items():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opt-ml-model-")))
                with tarfile.open(archive.path) as files:  # Python 3.11.3 knows no filter, 3.13 asks for one
                    files.extraction_filter = getattr(tarfile, "data_filter", None)
                    files.extractall(folder)
                self.urls[name] = stack.enter_context(self._running(folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, variant: str, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """What the variant answers to a request to /invocations, and its content type."""
        headers = {"Content-Type": content_type, "Accept": accept}
        request = urllib.request.Request(f"{self.urls[variant]}/invocations", body, headers)
        with open_directly(request, seconds=60) as answer:
            return answer.read(), answer.headers["Content-Type"]

    @contextlib.contextmanager
    def _running(self, folder: Path):
        if self._program is None:
            from helpers.export.predictors import load_predictor
            from helpers.serving.notebook_server import serve
            from helpers.serving.services import create_predict_app

            app = create_predict_app(load_predictor(folder), max_body_bytes=MOST_BYTES)
            with serve(app, port=0) as server:
                yield server.url
            return
        folder.chmod(0o755)
        port = free_port("127.0.0.1", 0)
        options = ["--rm", "--network=host", f"--env=PORT={port}", f"--volume={folder}:/opt/ml/model:ro"]
        command = [self._program, "run", *options, self._image, "serve"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for_ping(url, process)
            yield url
        finally:
            process.terminate()
            process.communicate()


def _wait_for_ping(url: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            ask(f"{url}/ping", seconds=2)
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the container ended: {process.stderr.read().strip()}") from None
            if time.monotonic() > end:
                raise RuntimeError(f"the container does not answer /ping within {START_SECONDS} s") from None
        time.sleep(0.1)
