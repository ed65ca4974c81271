# SPDX-License-Identifier: MIT
"""The oracle: what a PR server has to answer, written from the specification alone."""


def number(revision):
    return tuple(int(part) for part in revision.split("."))


def increase(revision):
    head, dot, last = revision.rpartition(".")
    return head + dot + str(int(last) + 1)


def is_floor(checksum):
    return checksum.startswith("floor:")


class Model:
    """A server with its rows. It may share the rows of another one, and have an upstream."""

    def __init__(self, upstream=None, read_only=False, rows_of=None):
        self.upstream = upstream
        self.read_only = read_only
        self.rows = rows_of.rows if rows_of else []

    def values(self, version, pkgarch, checksum=None):
        return [
            value
            for v, p, c, value in self.rows
            if (v, p) == (version, pkgarch) and checksum in (None, c)
        ]

    def max_package_pr(self, version, pkgarch):
        return max(self.values(version, pkgarch), key=number, default=None)

    def greatest_floor(self, version, pkgarch):
        floors = [
            value
            for v, p, c, value in self.rows
            if (v, p) == (version, pkgarch) and is_floor(c)
        ]
        return max(map(number, floors), default=())

    def test_package(self, version, pkgarch):
        return bool(self.values(version, pkgarch))

    def test_pr(self, version, pkgarch, checksum, history):
        choose = min if history else max
        return choose(self.values(version, pkgarch, checksum), key=number, default=None)

    def store(self, *row):
        if not self.read_only and row not in self.rows:
            self.rows.append(row)

    def import_one(self, version, pkgarch, checksum, value):
        self.store(version, pkgarch, checksum, str(value))
        return None if self.read_only else value

    def get_pr(self, version, pkgarch, checksum, history):
        """Returns None if the request is refused."""
        if is_floor(checksum):
            return None
        value = self.decide(version, pkgarch, checksum, history)
        self.store(version, pkgarch, checksum, value)
        return value

    def decide(self, version, pkgarch, checksum, history):
        lmax = self.max_package_pr(version, pkgarch)
        lval = self.test_pr(version, pkgarch, checksum, history)
        umax = uval = None
        if self.upstream:
            umax = self.upstream.max_package_pr(version, pkgarch)
            uval = self.upstream.test_pr(version, pkgarch, checksum, history)

        def lift(v):
            if umax is None or number(v) >= number(umax):
                return v
            return umax if uval is not None else umax + ".0"

        if history and lval is not None:
            return lval
        if lval is None and uval is None:
            if lmax is None and umax is None:
                return "0"
            if umax is None or (lmax is not None and number(lmax) > number(umax)):
                return increase(lmax)
            return umax + ".0"
        if lval is None:
            if lmax is None or number(uval) > number(lmax):
                return uval
            is_held = uval in self.values(version, pkgarch)
            is_above_floors = number(uval) > self.greatest_floor(version, pkgarch)
            if history and not is_held and is_above_floors:
                return uval
            return lift(increase(lmax))
        return lift(lmax if lval == lmax else increase(lmax))

    def export(self, history, **filters):
        fields = ("version", "pkgarch", "checksum")

        def matches(row, names):
            return all(
                filters.get(n) in (None, "", row[fields.index(n)]) for n in names
            )

        rows = [row for row in self.rows if matches(row, fields[:2])]
        if not history:
            rows = [
                row for row in rows if row[3] == self.max_package_pr(row[0], row[1])
            ]
        return sorted(row for row in rows if matches(row, fields))
