# SPDX-License-Identifier: MIT
"""What prservd.bbclass does, importable without BitBake. Python 3.8 and newer."""
