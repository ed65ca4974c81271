# SPDX-License-Identifier: MIT
"""Makes package feeds with the tools of each format, in the form that OE-core's classes give them."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD

FEED_PROGRAM = BUILD / "prserv-feed"

needs_feed = pytest.mark.skipif(
    not FEED_PROGRAM.exists(), reason="built without libsolv or libarchive"
)


def needs_tool(*names):
    """Skips a test without these programs, which other packages have."""
    missing = [name for name in names if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def with_compressions(names):
    """Parameters of a test; one for zstd needs its command."""
    return [
        pytest.param(name, marks=needs_tool("zstd") if "zst" in name else ())
        for name in names
    ]


def run(*words, **more):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, timeout=120, **more
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class Package:
    """A binary package of a recipe."""

    def __init__(self, recipe, pv, pr, revision, arch="core2-64", name=None, pe=""):
        self.recipe, self.pv, self.pr, self.revision = recipe, pv, pr, revision
        self.arch, self.name, self.pe = arch, name or recipe, pe

    @property
    def pkgr(self):
        return f"{self.pr}.{self.revision}" if self.revision else self.pr

    @property
    def version(self):
        return (
            f"{self.pe}:{self.pv}-{self.pkgr}" if self.pe else f"{self.pv}-{self.pkgr}"
        )

    @property
    def key(self):
        """What a build asks the server with."""
        pe = f"{self.pe}_" if self.pe else ""
        return f"{self.recipe}-{pe}{self.pv}-{self.pr}", self.arch

    def control(self, arch, **more):
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Description": "A package.\n More of it.",
            "Section": "base",
            "Priority": "optional",
            "Maintainer": "Nobody <nobody@example.invalid>",
            "License": "MIT",
            "Architecture": arch,
            "OE": self.recipe,
            **more,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


# ---- files of packages ----


def make_ipk(folder, package, content="content", compression="gz"):
    """Makes an .ipk as opkg-build does: an ar archive. Returns its path."""
    file = (
        folder / f"{package.name}_{package.version.split(':')[-1]}_{package.arch}.ipk"
    )
    work = folder / "work"
    work.mkdir(parents=True)
    (work / "control").write_text(package.control(package.arch))
    (work / "data").write_text(content)
    (work / "debian-binary").write_text("2.0\n")
    for name, member in (("control", "./control"), ("data", "./data")):
        run(
            "tar",
            "--auto-compress",
            "-cf",
            f"{name}.tar.{compression}",
            member,
            cwd=work,
        )
    run(
        *("ar", "-crf", file.resolve(), "debian-binary"),
        *(f"control.tar.{compression}", f"data.tar.{compression}"),
        cwd=work,
    )
    shutil.rmtree(work)
    return file


def make_deb(folder, package, content="content", compression="xz", debian="amd64"):
    """Makes a .deb with dpkg-deb. Returns its path."""
    arch = "all" if package.arch == "all" else debian
    file = folder / f"{package.name}_{package.version.split(':')[-1]}_{arch}.deb"
    work = folder / "work"
    (work / "DEBIAN").mkdir(parents=True)
    (work / "DEBIAN" / "control").write_text(
        package.control(arch, PackageArch=package.arch)
    )
    (work / "data").write_text(content)
    run("dpkg-deb", "--root-owner-group", f"-Z{compression}", "-b", work, file)
    shutil.rmtree(work)
    return file


SPEC = """Summary: A package
Name: {recipe}
Version: {version}
Release: {release}
{epoch}
License: MIT
%description
A package.
%package -n {name}
Summary: A package
%description -n {name}
A package.
%files -n {name}
/data
%install
mkdir -p %{{buildroot}}
echo '{content}' > %{{buildroot}}/data
"""


def make_rpm(folder, package, content="content"):
    """Makes an .rpm with rpmbuild, with the recipe's source package. Returns its path."""
    folder = folder.resolve()
    work = folder / "work"
    work.mkdir(parents=True)
    spec = work / "package.spec"
    name = package.name if package.name != package.recipe else f"{package.recipe}-bin"
    spec.write_text(
        SPEC.format(
            recipe=package.recipe,
            name=name,
            version=package.pv.replace("-", "+"),
            release=package.pkgr,
            epoch=f"Epoch: {package.pe}" if package.pe else "",
            content=content,
        )
    )
    arch = "noarch" if package.arch == "all" else package.arch.replace("-", "_")
    (work / "rpmrc").write_text(
        f"arch_compat: {arch}: noarch\nbuildarch_compat: {arch}: noarch\n"
    )
    run(
        *(
            "rpmbuild",
            "-bb",
            "--target",
            f"{arch}-poky-linux",
            "--define",
            f"_topdir {work}",
        ),
        *("--define", "_build_id_links none", "--define", f"_rpmdir {work}/rpms"),
        *("--define", "debug_package %{nil}", "--nodeps", spec),
        env={**os.environ, "HOME": str(work)},
    )
    (made,) = (work / "rpms").rglob("*.rpm")
    file = folder / made.name
    shutil.move(made, file)
    shutil.rmtree(work)
    return file


# ---- indexes ----

COMPRESSIONS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: run("zstd", "-c", input=data),
}


def compress_index(folder, ending):
    """Replaces Packages by a compressed one."""
    plain = folder / "Packages"
    data = plain.read_bytes()
    plain.unlink()
    (folder / f"Packages{ending}").write_bytes(COMPRESSIONS[ending](data))


def make_opkg_index(folder):
    """Writes Packages as opkg-make-index does."""
    stanzas = []
    for file in sorted(folder.glob("*.ipk")):
        control = run(
            "sh", "-c", f'ar p "{file}" control.tar.gz | tar -xzOf - ./control'
        )
        digest = run("sha256sum", file).split()[0].decode()
        stanzas.append(
            control.decode()
            + f"Filename: {file.name}\nSize: {file.stat().st_size}\nSHA256sum: {digest}\n"
        )
    (folder / "Packages").write_text("\n".join(stanzas))


def make_deb_index(folder):
    (folder / "Packages").write_bytes(
        run("dpkg-scanpackages", "--multiversion", ".", cwd=folder)
    )


def make_rpm_index(folder, compression="gz"):
    run("createrepo_c", "--general-compress-type", compression, folder)


def replace_primary(
    folder, change=lambda xml: xml, compress=lambda data: data, ending=""
):
    """Replaces the primary.xml of a repository, and what repomd.xml says of it."""
    repodata = folder / "repodata"
    (old,) = repodata.glob("*primary.xml.gz")
    data = compress(change(gzip.decompress(old.read_bytes())))
    old.unlink()
    new = repodata / f"primary.xml{ending}"
    new.write_bytes(data)
    repomd = (repodata / "repomd.xml").read_text()
    begin = repomd.index('<data type="primary"')
    end = repomd.index("</data>", begin)
    digest = hashlib.sha256(data).hexdigest()
    primary = re.sub(
        '(<checksum type="sha256">)[0-9a-f]*', rf"\g<1>{digest}", repomd[begin:end]
    )
    primary = re.sub('(<location href=").*?"', rf'\g<1>repodata/{new.name}"', primary)
    (repodata / "repomd.xml").write_text(repomd[:begin] + primary + repomd[end:])


class Format:
    """How a feed of one format is made."""

    def __init__(self, name, make, index, tools):
        self.name, self.make, self.index, self.tools = name, make, index, tools

    def feed(self, folder, *packages, indexed=True):
        """Makes a feed as OE-core deploys it: a folder for each architecture."""
        for package in packages:
            arch = package.arch
            if self.name == "rpm":
                arch = "noarch" if arch == "all" else arch.replace("-", "_")
            (folder / arch).mkdir(parents=True, exist_ok=True)
            self.make(folder / arch, package)
        if indexed and self.name == "rpm":
            self.index(folder)
        elif indexed:
            for arch in folder.iterdir():
                self.index(arch)
        return folder


IPK = Format("ipk", make_ipk, make_opkg_index, ["ar"])
DEB = Format("deb", make_deb, make_deb_index, ["dpkg-deb", "dpkg-scanpackages"])
RPM = Format("rpm", make_rpm, make_rpm_index, ["rpmbuild", "createrepo_c"])
FORMATS = [
    pytest.param(kind, marks=needs_tool(*kind.tools), id=kind.name)
    for kind in (IPK, DEB, RPM)
]


# ---- what a build keeps ----


def make_pkgdata(folder, *packages, pkgv=None):
    """Makes tmp/pkgdata/<machine>."""
    (folder / "runtime").mkdir(parents=True)
    (folder / "runtime-reverse").mkdir()
    for package in packages:
        (folder / package.recipe).write_text(f"PACKAGES: {package.name}\n")
        (folder / "runtime" / package.name).write_text(
            f"PN: {package.recipe}\nPE: {package.pe}\nPV: {package.pv}\nPR: {package.pr}\n"
            f"PKGE: {package.pe}\nPKGV: {pkgv or package.pv}\nPKGR: {package.pkgr}\n"
            f"DESCRIPTION: text\\nof two lines\nPKG:{package.name}: {package.name}\n"
            f"FILES:{package.name}: /usr/bin/*\n"
            + f"FILES_INFO: {json.dumps({'/a': 1})}\n"
        )
        (folder / "runtime-reverse" / package.name).symlink_to(
            f"../runtime/{package.name}"
        )
        (folder / "runtime" / f"{package.name}.packaged").touch()
    return folder


def make_buildhistory(folder, *packages, vendor="poky-linux", pkgv=None):
    """Makes the folder of buildhistory."""
    for package in packages:
        recipe = folder / "packages" / f"{package.arch}-{vendor}" / package.recipe
        (recipe / package.name).mkdir(parents=True)
        pe = f"PE = {package.pe}\n" if package.pe else ""
        common = f"{pe}PV = {package.pv}\nPR = {package.pr}\n"
        (recipe / "latest").write_text(common + f"PACKAGES = {package.name}\n")
        pkgv_line = f"PKGV = {pkgv}\n" if pkgv else ""
        (recipe / package.name / "latest").write_text(
            f"{common}{pkgv_line}PKGR = {package.pkgr}\nRDEPENDS = \nFILES = /usr/bin/*\n"
        )
    return folder
