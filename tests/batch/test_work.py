"""Work on one file after another: what the process keeps between them."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from segdata.batch.work import work_on

TAKES_AND_FREES = """
import resource
from types import SimpleNamespace
from segdata.batch.work import Outcome, work_on

def work(item):
    buffers = [b"1" * 2**20 for _ in range(4)]
    return Outcome(key=item.key, status="done", facts={"bytes": sum(map(len, buffers))})

item = SimpleNamespace(key="a")
for _ in range(3):
    work_on(work, item)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work_on(work, item)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed memory back so soon")
def test_memory_freed_after_one_file_serves_the_next():
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # as Dask leaves them
    command = [sys.executable, "-c", TAKES_AND_FREES]
    faults = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert int(faults) < 500  # 20 times 4 MiB are 20,480 pages


def test_the_traceback_of_what_nobody_foresaw_is_printed_on_request(monkeypatch, capsys):
    def stumble(item):
        raise KeyError("lost")

    for wanted in ("", "1"):
        monkeypatch.setenv("SEGDATA_DEBUG", wanted)
        told = work_on(stumble, SimpleNamespace(key="a"))
        assert told.message is not None
        assert "unforeseen KeyError in test_work.py" in told.message
        assert ("Traceback" in capsys.readouterr().err) == bool(wanted)
