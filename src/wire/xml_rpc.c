/* SPDX-License-Identifier: MIT */
#include "wire/xml_rpc.h"

#include <string.h>

static const char xml_rpc_fault[] =
    "<?xml version=\"1.0\"?>\n"
    "<methodResponse><fault><value><struct>\n"
    "<member><name>faultCode</name><value><int>1</int></value></member>\n"
    "<member><name>faultString</name><value><string>"
    "this client is too old: it speaks XML-RPC, as BitBake 1.50 (Yocto 3.3) and older does, and "
    "this PR server needs BitBake 1.52 (Yocto 3.4) or newer; let older builds use the PR server "
    "of their own BitBake"
    "</string></value></member>\n"
    "</struct></value></fault></methodResponse>\n";

bool xml_rpc_is_request(struct text line)
{
    return text_starts_with(line, "POST /RPC2 HTTP/1.") || text_starts_with(line, "POST / HTTP/1.");
}

void xml_rpc_write_fault(struct buffer *out)
{
    buffer_append_format(out,
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/xml\r\n"
        "Content-Length: %zu\r\n"
        "Connection: close\r\n"
        "\r\n"
        "%s",
        strlen(xml_rpc_fault), xml_rpc_fault);
}
