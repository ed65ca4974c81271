# SPDX-License-Identifier: MIT
"""sbom.py --tarball FILE --packages DIR --commit ID --created SECONDS OUTPUT
sbom.py --check FILE

Writes the SBOM of a release, as SPDX 2.3 in JSON: the tarball, the Debian packages with all of their
files, the libraries that they load, and the packages that were installed for the build. Everything in
it comes from the files of the release, so that two equal builds have equal SBOMs. --check checks the
rules of SPDX for such a file.
"""

import argparse
import datetime
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

LICENSE = "MIT"
COPYRIGHT = "Copyright (c) 2026 The prservd authors"
AUTHORS = "Organization: The prservd authors"
TIME = "%Y-%m-%dT%H:%M:%SZ"


def digests(data):
    return [
        {"algorithm": "SHA1", "checksumValue": hashlib.sha1(data).hexdigest()},
        {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()},
    ]


def identifier(*words):
    """Returns an SPDXID: letters, digits, "." and "-" only, and no two alike."""
    text = "-".join(words)
    clean = re.sub(r"[^A-Za-z0-9.-]+", "-", text)
    if clean != text:
        clean += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return "SPDXRef-" + clean


def control_fields(text):
    """Returns the fields of the first paragraph of a control file."""
    fields, name = {}, None
    for line in text.split("\n\n")[0].splitlines():
        if line[:1] in " \t" and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def installed_packages(folder):
    """Returns the packages that were installed for the build, with their versions."""
    found = {}
    for file in sorted(folder.glob("*.buildinfo")):
        fields = control_fields(file.read_text())
        for entry in fields.get("Installed-Build-Depends", "").split(","):
            match = re.match(r"\s*([^ (:]+)(?::\w+)? \(= ([^)]+)\)", entry)
            if match:
                found[match[1]] = match[2]
    return found


class Document:
    def __init__(self, name, created, seed):
        space = uuid.uuid5(uuid.NAMESPACE_URL, seed)
        self.relationships = []
        self.data = {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": name,
            "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{space}",
            "creationInfo": {
                "created": created.strftime(TIME),
                "creators": [AUTHORS, "Tool: prservd-tools-sbom.py"],
            },
            "documentDescribes": [],
            "packages": [],
            "files": [],
            "relationships": self.relationships,
        }

    def relate(self, one, kind, other):
        self.relationships.append(
            {
                "spdxElementId": one,
                "relationshipType": kind,
                "relatedSpdxElement": other,
            }
        )

    def add_package(self, spdx_id, name, version, **more):
        package = {
            "SPDXID": spdx_id,
            "name": name,
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
        }
        package.update(more)
        self.data["packages"].append(package)

    def describe(self, spdx_id):
        self.data["documentDescribes"].append(spdx_id)
        self.relate("SPDXRef-DOCUMENT", "DESCRIBES", spdx_id)


OURS = {
    "licenseConcluded": LICENSE,
    "licenseDeclared": LICENSE,
    "copyrightText": COPYRIGHT,
    "supplier": AUTHORS,
}


def add_source(document, tarball, version, commit):
    spdx_id = identifier("source", "prservd", version)
    # The tarball also holds axe-core, for a test.
    document.add_package(
        spdx_id,
        "prservd",
        version,
        packageFileName=tarball.name,
        checksums=digests(tarball.read_bytes()),
        primaryPackagePurpose="SOURCE",
        sourceInfo=f"git commit {commit}",
        externalRefs=[
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:generic/prservd@{version}",
            }
        ],
        **{**OURS, "licenseDeclared": f"{LICENSE} AND MPL-2.0"},
        licenseComments="MPL-2.0: tests/http/axe, which only a test uses.",
    )
    document.describe(spdx_id)
    return spdx_id


def contents(deb):
    """Yields the names and the bytes of the regular files of a package."""
    command = ["dpkg-deb", "--fsys-tarfile", deb]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if member.isfile():
                yield member.name, archive.extractfile(member).read()


def file_type(name, data):
    if data.startswith(b"\x7fELF"):
        return "BINARY"
    if name.endswith((".a", ".gz")):
        return "ARCHIVE"
    if "/doc/" in name or "/man/" in name:
        return "DOCUMENTATION"
    return "TEXT"


def add_files(document, spdx_id, name, deb):
    """Adds all files of a package, and returns its verification code."""
    sums = []
    for path, data in contents(deb):
        file_id = identifier("file", name, path.removeprefix("./"))
        checksums = digests(data)
        sums.append(checksums[0]["checksumValue"])
        document.data["files"].append(
            {
                "SPDXID": file_id,
                "fileName": path,
                "checksums": checksums,
                "fileTypes": [file_type(path, data)],
                "licenseConcluded": LICENSE,
                "licenseInfoInFiles": [LICENSE],
                "copyrightText": COPYRIGHT,
            }
        )
        document.relate(spdx_id, "CONTAINS", file_id)
    return hashlib.sha1("".join(sorted(sums)).encode()).hexdigest()


def add_packages(document, folder, source_id):
    """Adds the Debian packages, and returns what each of them depends on."""
    ours, needed = {}, {}
    for deb in sorted(folder.glob("*.deb")):
        command = ["dpkg-deb", "--field", deb]
        text = subprocess.run(command, check=True, capture_output=True, text=True)
        fields = control_fields(text.stdout)
        name = fields["Package"]
        spdx_id = identifier("package", name, fields["Version"], fields["Architecture"])
        more = dict(OURS)
        if not name.endswith("-dbgsym"):
            code = add_files(document, spdx_id, name, deb)
            more["filesAnalyzed"] = True
            more["packageVerificationCode"] = {"packageVerificationCodeValue": code}
            more["licenseInfoFromFiles"] = [LICENSE]
        document.add_package(
            spdx_id,
            name,
            fields["Version"],
            packageFileName=deb.name,
            checksums=digests(deb.read_bytes()),
            primaryPackagePurpose="INSTALL",
            **more,
        )
        document.describe(spdx_id)
        document.relate(spdx_id, "GENERATED_FROM", source_id)
        ours[name] = spdx_id
        needed[spdx_id] = {
            re.match(r"[^ :(]+", word.strip())[0]
            for word in re.split("[,|]", fields.get("Depends", ""))
            if word.strip()
        }
    return ours, needed


def add_debian(document, installed, ours, needed, source_id):
    """Adds Debian's packages: those that ours depend on, and those of the build."""
    wanted = set().union(*needed.values()) - set(ours)
    debian = {}
    for name in sorted(wanted | set(installed)):
        version = installed.get(name)
        debian[name] = identifier("debian", name)
        purl = f"pkg:deb/debian/{name}" + (f"@{version}" if version else "")
        document.add_package(
            debian[name],
            name,
            version or "NOASSERTION",
            supplier="Organization: Debian",
            externalRefs=[
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": purl.replace("+", "%2B"),
                }
            ],
        )
    for spdx_id, names in sorted(needed.items()):
        for name in sorted(names):
            document.relate(
                spdx_id, "DEPENDS_ON", {**debian, **ours}.get(name, "NOASSERTION")
            )
    for name in sorted(installed):
        document.relate(debian[name], "BUILD_DEPENDENCY_OF", source_id)


def make(options):
    tarball, folder = Path(options.tarball), Path(options.packages)
    version = re.match(r"prservd-(.+)\.tar\.xz$", tarball.name)[1]
    created = datetime.datetime.fromtimestamp(options.created, datetime.timezone.utc)
    seed = hashlib.sha256(tarball.read_bytes()).hexdigest()
    for deb in sorted(folder.glob("*.deb")):
        seed += hashlib.sha256(deb.read_bytes()).hexdigest()
    document = Document(f"prservd-{version}", created, seed)
    source_id = add_source(document, tarball, version, options.commit)
    ours, needed = add_packages(document, folder, source_id)
    add_debian(document, installed_packages(folder), ours, needed, source_id)
    found = list(complaints(document.data))
    assert not found, found
    Path(options.file).write_text(json.dumps(document.data, indent=1) + "\n")


# ---- rules of SPDX 2.3 ----

DOCUMENT_FIELDS = ["dataLicense", "documentNamespace", "name", "packages"]
PACKAGE_FIELDS = ["name", "downloadLocation", "SPDXID", "filesAnalyzed"]
FILE_FIELDS = ["fileName", "SPDXID", "checksums"]
RELATIONSHIPS = {
    "BUILD_DEPENDENCY_OF",
    "CONTAINS",
    "DEPENDS_ON",
    "DESCRIBES",
    "GENERATED_FROM",
}
LENGTHS = {"SHA1": 40, "SHA256": 64}


def complaints(document):
    """Yields what is wrong with a document: fields, identifiers, checksums, relationships."""
    if document.get("spdxVersion") != "SPDX-2.3":
        yield "spdxVersion is not SPDX-2.3"
    if document.get("dataLicense") != "CC0-1.0":
        yield "dataLicense is not CC0-1.0"
    yield from missing("the document", document, DOCUMENT_FIELDS)
    if not re.match(r"https?://[^#\s]+$", document.get("documentNamespace", "")):
        yield "documentNamespace is not a URI without #"
    creation = document.get("creationInfo", {})
    if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", creation.get("created", "")):
        yield "creationInfo.created is not a time in UTC"
    for creator in creation.get("creators") or ["none"]:
        if not re.match(r"(Person|Organization|Tool): \S", creator):
            yield f"the creator {creator} is not Person:, Organization: or Tool:"
    known = {"SPDXRef-DOCUMENT"}
    for fields, elements in (
        (PACKAGE_FIELDS, document.get("packages", [])),
        (FILE_FIELDS, document.get("files", [])),
    ):
        for element in elements:
            yield from check_element(element, fields, known)
    broken = list(check_relationships(document, known))
    yield from broken
    if not broken:
        yield from check_codes(document)


def missing(what, element, fields):
    for field in fields:
        if field not in element:
            yield f"{what} lacks {field}"


def check_element(element, fields, known):
    spdx_id = element.get("SPDXID", "")
    yield from missing(spdx_id or "an element", element, fields)
    if not re.match(r"SPDXRef-[A-Za-z0-9.-]+$", spdx_id):
        yield f"{spdx_id} is not an SPDXID"
    if spdx_id in known:
        yield f"{spdx_id} is used twice"
    known.add(spdx_id)
    for checksum in element.get("checksums", []):
        length = LENGTHS.get(checksum["algorithm"])
        if not re.match(rf"[0-9a-f]{{{length}}}$", checksum["checksumValue"]):
            yield f"{spdx_id}: invalid {checksum['algorithm']}"
    if element.get("filesAnalyzed") and "packageVerificationCode" not in element:
        yield f"{spdx_id} lacks packageVerificationCode"


def check_relationships(document, known):
    described = set()
    for relationship in document.get("relationships", []):
        one, other = relationship["spdxElementId"], relationship["relatedSpdxElement"]
        if relationship["relationshipType"] not in RELATIONSHIPS:
            yield f"unknown relationship {relationship['relationshipType']}"
        for spdx_id in (one, other):
            if spdx_id not in known and spdx_id not in ("NONE", "NOASSERTION"):
                yield f"a relationship names {spdx_id}, which does not exist"
        if relationship["relationshipType"] == "DESCRIBES":
            described.add(other)
    if not described or described != set(document.get("documentDescribes", [])):
        yield "the document does not say what it describes"


def check_codes(document):
    """Checks the verification codes of the packages."""
    sums = {
        file["SPDXID"]: file["checksums"][0]["checksumValue"]
        for file in document.get("files", [])
    }
    files = {}
    for relationship in document.get("relationships", []):
        if relationship["relationshipType"] == "CONTAINS":
            one = relationship["spdxElementId"]
            files.setdefault(one, []).append(sums[relationship["relatedSpdxElement"]])
    for package in document.get("packages", []):
        if package.get("filesAnalyzed"):
            text = "".join(sorted(files.get(package["SPDXID"], [])))
            code = package["packageVerificationCode"]["packageVerificationCodeValue"]
            if code != hashlib.sha1(text.encode()).hexdigest():
                yield f"{package['SPDXID']}: wrong packageVerificationCode"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tarball")
    parser.add_argument("--packages")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--created", type=int, default=0)
    parser.add_argument("file")
    options = parser.parse_args()
    if not options.check:
        make(options)
        return 0
    found = list(complaints(json.loads(Path(options.file).read_text())))
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
