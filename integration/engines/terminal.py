#!/usr/bin/env python3
"""Drives a command on a pseudo-terminal, as a person would.

    terminal.py ROWSxCOLS STEP... -- COMMAND [ARG...]

STEP is one of
    expect:REGEX    wait until REGEX appears after the last match
    send:TEXT       type TEXT (\\n, \\x10 and so on are decoded)
    resize:RxC      change the window size, which sends SIGWINCH
    end             wait for the command to end

The command's exit code is handed on. A step not met within 20 seconds ends
the command and exits with 99 after the transcript was printed.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

STEP_SECONDS = 20
DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q


def set_size(fd, size):
    rows, columns = (int(n) for n in size.split("x"))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Session:
    def __init__(self, size, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The size must be there before the command first looks.
            set_size(0, size)
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)
        self.text = ""
        self.seen = 0

    def read(self, deadline):
        """Takes in more output; False at the end of the output."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.fd], [], [], left)[0]:
            raise TimeoutError
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            data = b""
        # A shell asks where the cursor is; a terminal answers.
        if b"\x1b[6n" in data:
            os.write(self.fd, b"\x1b[1;1R")
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def step(self, step):
        kind, _, value = step.partition(":")
        deadline = time.monotonic() + STEP_SECONDS
        if kind == "expect":
            while True:
                match = re.compile(value).search(self.text, self.seen)
                if match:
                    self.seen = match.end()
                    return
                if not self.read(deadline):
                    raise EOFError
        elif kind == "send":
            # Engines know a detach key only when one read returns it alone.
            for byte in value.encode().decode("unicode_escape").encode("latin-1"):
                time.sleep(0.2 if byte in DETACH_KEYS else 0.01)
                os.write(self.fd, bytes([byte]))
        elif kind == "resize":
            set_size(self.fd, value)
        elif kind == "end":
            while self.read(deadline):
                pass
        else:
            raise ValueError(f"unknown step: {step}")


def main():
    size, *rest = sys.argv[1:]
    split = rest.index("--")
    steps, command = rest[:split], rest[split + 1:]
    session = Session(size, command)
    for step in steps + ["end"]:
        try:
            session.step(step)
        except (TimeoutError, EOFError) as error:
            os.kill(session.pid, signal.SIGKILL)
            os.waitpid(session.pid, 0)
            print(session.text)
            print(f"reason: {type(error).__name__} at step {step!r} of {' '.join(command)};"
                  f" terminal showed {session.text[-300:]!r}")
            sys.exit(99)
    _, status = os.waitpid(session.pid, 0)
    print(session.text)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


main()
