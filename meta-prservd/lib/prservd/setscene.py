# SPDX-License-Identifier: MIT
"""The check of what shared state brings back.

The packages of a restored do_packagedata have a revision that was given elsewhere, or long ago, and no
server was asked. If this build's server does not know it, what is built here next may get a revision
that is not greater.
"""

import os
import re

from prservd.client import Client, ServerError

WAIT_S = 10


def read_values(path):
    """Returns the lines "NAME: value" of a file of pkgdata."""
    values = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, colon, value = line.rstrip("\n").partition(": ")
                if colon:
                    values[name] = value
    except OSError:
        pass
    return values


def restored_revisions(pkgdata, pn, pr):
    """Returns the PR server's part of the revisions of a recipe's packages."""
    packages = read_values(os.path.join(pkgdata, pn)).get("PACKAGES", "").split()
    revisions = set()
    for package in packages:
        values = read_values(os.path.join(pkgdata, "runtime", package))
        pkgr = values.get("PKGR:" + package) or values.get("PKGR") or ""
        if pkgr.startswith(pr + "."):
            rest = pkgr[len(pr) + 1 :]
            if re.fullmatch(r"[0-9]+(\.[0-9]+)*", rest):
                revisions.add(rest)
    return revisions


def find_fault(client, version, pkgarch, revision):
    """Returns what is wrong with a revision that was restored, or None."""
    known = client.revisions(version, pkgarch)
    if revision in known:
        return None
    greatest = client.greatest(version, pkgarch)
    if greatest is None:
        return "the PR server has never given a revision to this package"
    return "the PR server has not given it; its greatest is %s" % greatest


def check(d, report):
    """Calls report with a text for each revision that this build's server does not know."""
    pn = d.getVar("PN")
    host = d.getVar("PRSERV_HOST_" + pn)
    host = d.getVar("PRSERV_HOST") if host is None else host
    pr = d.getVar("PR") or ""
    revisions = restored_revisions(d.getVar("PKGDATA_DIR"), pn, pr)
    if not host or not revisions:
        return
    version, pkgarch = d.getVar("PRAUTOINX"), d.getVar("PACKAGE_ARCH")
    try:
        with Client(host, WAIT_S) as client:
            for revision in sorted(revisions):
                fault = find_fault(client, version, pkgarch, revision)
                if fault:
                    report(
                        "%s was restored from shared state with the revision %s.%s, but %s "
                        "(%s, %s). Build it here once (bitbake -C package %s), or raise the "
                        "server with 'prserv floor'. PRSERVD_SETSCENE_CHECK = \"off\" ends this check"
                        % (pn, pr, revision, fault, version, pkgarch, pn)
                    )
    except ServerError as error:
        report(
            "%s: the revision that was restored could not be checked: %s" % (pn, error)
        )
