# SPDX-License-Identifier: MIT
"""Console blocks of documents: commands after "$ ", each with its output."""

import re


def commands(block):
    """Yields the commands of a block, with their output. A line that ends in a backslash goes on in
    the next one, as in a shell."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, output = re.sub(r" \\\n +", " ", part).partition("\n")
        yield command, output
