"""Connecting to a Ray cluster, and the options of the engine."""

import socket
import subprocess
import sys

import pytest

from convlens import ConvlensError, RayEngine
from convlens.passes.engines import find_engine
from convlens.passes.ray.session import ray_session
from support.ray_cluster import RAY_WARNINGS, counted

ray = pytest.importorskip("ray")

pytest_plugins = "support.ray_cluster"

pytestmark = RAY_WARNINGS


class TestSession:
    def test_nothing_is_reported(self, cluster):
        from ray._common.usage import usage_lib

        with ray_session(None):
            assert not usage_lib.usage_stats_enabled()

    def test_without_ray(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ConvlensError, match=r"pip install 'convlens\[ray\]'"):
            counted(4, "ray")

    @pytest.mark.parametrize("where", ["auto", "ray://here:1", "here"])
    def test_no_such_cluster(self, monkeypatch, where):
        """Ray itself is asked, without a look at the machine, for all but HOST:PORT."""

        def refused(where, **options):
            raise ConnectionError(f"nothing at {where}\nand a long story")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", refused)
        monkeypatch.setattr(socket, "create_connection", None)
        reason = rf"^no session of Ray at {where} \(nothing at {where}\)$"
        with pytest.raises(ConvlensError, match=reason):
            counted(4, RayEngine(where))

    def test_a_machine_where_nothing_listens(self, monkeypatch):
        """Said at once, where Ray would try for minutes; also for an address out of RAY_ADDRESS."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", None)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        reason = rf"^no session of Ray at 127.0.0.1:{port} \(nothing listens there; start it with"
        for address in (f"127.0.0.1:{port}", None):
            with pytest.raises(ConvlensError, match=reason):
                counted(4, RayEngine(address))

    def test_a_machine_that_does_not_answer(self, monkeypatch):
        def silent(machine, timeout):
            assert machine == ("fd00::1", 6379)
            raise TimeoutError("timed out")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", None)
        monkeypatch.setattr(socket, "create_connection", silent)
        with pytest.raises(ConvlensError, match="nothing answers within 5 s"):
            counted(4, RayEngine("[fd00::1]:6379"))

    def test_a_cluster_that_wants_a_token(self, monkeypatch):
        """Ray tells that in the middle of a cause's traceback."""

        def refused(where, **options):
            cause = RuntimeError("Failed ...\nRPC error: InvalidAuthToken: ... is missing")
            raise ConnectionError("Failed to connect") from cause

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", refused)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            pytest.raises(ConvlensError, match="its token: set RAY_AUTH_MODE=token, and copy"),
        ):
            counted(4, RayEngine(f"127.0.0.1:{server.getsockname()[1]}"))

    def test_unknown_engines_and_options(self):
        with pytest.raises(ConvlensError, match="give local or ray"):
            find_engine("spark")
        for option in ("actors", "threads", "block", "handovers"):
            with pytest.raises(ConvlensError, match=f"{option} 0; give at least 1"):
                RayEngine(**{option: 0})  # type: ignore[arg-type]
        with pytest.raises(ConvlensError, match="give cpu or cuda"):
            RayEngine(device="mps")

    def test_options_of_another_engine(self, paths, tmp_path):
        command = [sys.executable, "-m", "convlens", "patches", paths[0], "--actors", "2"]
        code = "import sys; from convlens.cli import main; sys.argv = sys.argv[1:]; main()"
        command = [sys.executable, "-c", code, "convlens", *command[3:]]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert ended.returncode == 2
        assert ended.stderr == (
            "convlens: --actors is an option of --engine ray, which was not given\n"
        )
