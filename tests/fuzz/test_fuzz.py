"""Bounded fuzzing, where atheris is installed (the dependency group ``fuzz``)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 120


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_nothing_that_the_platform_sends_raises(tmp_path: Path) -> None:
    """Two minutes of inputs, guided by coverage, raise nothing but errors of ours."""
    target = Path(__file__).with_name("signalling.py")
    command = [sys.executable, str(target), f"-max_total_time={SECONDS}", "-max_len=600"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
