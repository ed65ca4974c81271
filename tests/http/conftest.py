# SPDX-License-Identifier: MIT
import pytest

HTTP = ("--http", "127.0.0.1:0", "--audit", "off")


@pytest.fixture
def http_server(serve):
    return serve(*HTTP)
