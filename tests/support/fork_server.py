"""Programs in processes of their own that need not import torch and convlens again.

A server process imports them once and forks for every program. Each program runs in its own
process, with its own arguments, environment, folder and output, and can be killed there. The
server itself computes nothing, so that a forked process is in the state of one that has just
finished its imports.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SERVER = """
import json, os, runpy, signal, sys, time
import lightning_fabric
import torch
import convlens.cli.app, convlens.training.run, convlens.analyses.gradcam.dataset_pass
import convlens.analyses.patches.dataset_pass


def become(request):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["program"], *request["arguments"]]
    runpy.run_path(request["program"], run_name="__main__")


answers = os.fdopen(os.dup(1), "w", buffering=1)
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    if "wait" in request:
        until = time.monotonic() + request["timeout"]
        pid, status = 0, 0
        while not pid and time.monotonic() < until:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            time.sleep(0 if pid else 0.01)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), file=answers)
        continue
    pid = os.fork()
    if pid == 0:
        become(request)
        break
    print(pid, file=answers)
"""


@dataclass
class Program:
    """A running program.

    Attributes:
        pid: its process.
        returncode: its exit status once it is known, negative for a signal.
    """

    pid: int
    _output: tuple[Path, Path]
    returncode: int | None = None

    def kill(self) -> None:
        """Send SIGKILL, unless it has been waited for."""
        if self.returncode is None:
            os.kill(self.pid, 9)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end; standard output and standard error."""
        if self.returncode is None:
            self.returncode = _ask({"wait": self.pid, "timeout": timeout})
            if self.returncode is None:
                raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        out, err = (path.read_text(encoding="utf-8") for path in self._output)
        return out, err


def start_program(
    source: str,
    arguments: Sequence[object] = (),
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Program:
    """Run Python source as the main module of a new process."""
    place = Path(tempfile.mkdtemp(dir=_folder()))
    program = place / "program.py"
    program.write_text(source, encoding="utf-8")
    output = (place / "stdout", place / "stderr")
    pid = _ask(
        {
            "program": str(program),
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(os.environ if environment is None else environment),
            "folder": str(folder or Path.cwd()),
            "stdout": str(output[0]),
            "stderr": str(output[1]),
        }
    )
    assert pid is not None
    return Program(pid, output)


def run_program(
    source: str,
    arguments: Sequence[object] = (),
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[int, str, str]:
    """Run a program to its end: exit status, standard output, standard error."""
    program = start_program(source, arguments, environment=environment, folder=folder)
    out, err = program.communicate()
    assert program.returncode is not None
    return program.returncode, out, err


@cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="programs-")
    atexit.register(folder.cleanup)
    return folder.name


@cache
def _server() -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "ignore",
    }
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )

    def end() -> None:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.close()
        server.wait()
        server.stdout.close()

    atexit.register(end)
    return server


def _ask(request: Mapping[str, object]) -> int | None:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    assert answer is None or isinstance(answer, int)
    return answer
