import socket, sys, time

# Reads a key, fails to read another, and reaches a host after that.
with open(sys.argv[1], "rb") as key:
    key.read()
try:
    open(sys.argv[1] + "_absent", "rb")
except FileNotFoundError:
    pass
time.sleep(0.3)
with socket.create_connection((sys.argv[2], int(sys.argv[3])), 10) as stream:
    stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while stream.recv(65536):
        pass
    sys.stdin.read()
