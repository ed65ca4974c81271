# SPDX-License-Identifier: MIT
"""Runs the fuzz targets on their corpus (tests/fuzz/corpus) in every build: on seeds, and on
input that once broke them."""

import subprocess

import pytest
from harness import BUILD, ROOT

CORPUS = ROOT / "tests" / "fuzz" / "corpus"


@pytest.mark.parametrize("target", sorted(path.name for path in CORPUS.iterdir()))
def test_a_fuzz_target_passes_on_its_corpus(target, tmp_path):
    files = sorted((CORPUS / target).iterdir())
    assert files
    program = BUILD / "tests" / "fuzz" / f"replay_{target}"
    if target == "tls" and not program.exists():
        pytest.skip("built without TLS")
    replay = subprocess.run(
        [program, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert replay.returncode == 0, replay.stderr[-4000:]
    assert replay.stderr.split() == [str(file) for file in files]
