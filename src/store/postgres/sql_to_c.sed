# SPDX-License-Identifier: MIT
# SQL → a string of C.
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
