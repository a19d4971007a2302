"""Reads the files that are named before `--`, then connects to the address and port behind it and sends a little.

With `--child` as first argument a child connects instead.
"""

import os
import socket
import sys
import time

arguments = sys.argv[1:]
in_child = arguments[0] == "--child"
files, (address, port) = arguments[in_child:-3], arguments[-2:]
for file in files:
    with open(file, "rb") as opened:
        opened.read()
# After, and not at the same moment.
time.sleep(0.3)
child = os.fork() if in_child else 0
if child == 0:
    with socket.create_connection((address, int(port))) as peer:
        peer.sendall(b"k" * 2000)
        time.sleep(0.3)
    if in_child:
        os._exit(0)
else:
    os.waitpid(child, 0)
