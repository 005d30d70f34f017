"""The log of requests goes on after a moment without room."""

import os

import pytest

from helpers.serving.access_log import BackgroundLog


@pytest.mark.skipif(os.name != "posix", reason="a pipe here always waits for its reader")
def test_a_log_that_had_no_room_for_a_moment_goes_on():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with pytest.raises(BlockingIOError):
        while True:
            filled += os.write(writer, b"x")
    log = BackgroundLog(writer)
    log.write("lost\n")
    while log._lines.qsize():
        pass
    os.set_blocking(writer, True)  # of the pipe itself: the log writes into it, too
    while filled:
        filled -= len(os.read(reader, filled))
    log.write("written\n")
    log.close()
    os.close(writer)
    assert os.read(reader, 100).endswith(b"written\n")
    os.close(reader)
