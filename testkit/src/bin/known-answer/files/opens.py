"""Opens, and fails to open, files of the folder that is the first argument, in every way that programs do.

Beside it, in the folder that is the second argument, lies what nobody watches.
"""

import ctypes
import os
import sys
import time

watched, beside = (os.fsencode(argument) for argument in sys.argv[1:3])
libc = ctypes.CDLL(None, use_errno=True)


class OpenHow(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(dirfd, path, flags, resolve=0):
    how = OpenHow(flags, 0, resolve)
    number = 437
    return libc.syscall(number, dirfd, path, ctypes.byref(how), ctypes.sizeof(how))


def touch(path, flags=os.O_RDONLY, dirfd=None):
    try:
        os.close(os.open(path, flags, 0o600, dir_fd=dirfd))
    except OSError:
        pass


here = os.open(watched, os.O_PATH | os.O_DIRECTORY)
os.chdir(beside)

# Plain, several times, and ways to write.
for _ in range(3):
    touch(watched + b"/plain")
touch(watched + b"/plain", os.O_WRONLY)
touch(watched + b"/plain", os.O_RDWR)
touch(watched + b"/plain", os.O_WRONLY | os.O_APPEND)
touch(watched + b"/emptied", os.O_WRONLY | os.O_TRUNC)
touch(watched + b"/made", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
touch(watched + b"/made", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
touch(watched + b"/plain", os.O_PATH)

# Relative, with a folder's descriptor, over links, through dots.
touch(b"../" + os.path.basename(watched) + b"/plain")
touch(b"plain", dirfd=here)
touch(b"./sub/../sub/deep", dirfd=here)
touch(beside + b"/link")
touch(beside + b"/folder-link/sub/deep")
touch(b"link")
touch(watched + b"//sub///deep")

# openat2, also where the folder's descriptor is the root of the path.
os.close(openat2(-100, watched + b"/plain", 0))
os.close(openat2(here, b"/sub/deep", 0, 0x10))

# What is not there, and what is no folder.
touch(watched + b"/missing")
touch(b"missing", dirfd=here)
touch(watched + b"/plain/below")
touch(watched + b"/loop")

# Other names of the same file, and other files of the same name.
touch(beside + b"/hard")
touch(beside + b"/plain")
touch(beside + b"/missing")
with open(watched + b"/.plain.new", "wb") as new:
    new.write(b"new")
os.rename(watched + b"/.plain.new", watched + b"/plain")
touch(watched + b"/plain")

# Names that nobody would choose, and the longest one that there can be.
for name in (b"new\nline", b"esc\x1b[2J", b"not\xffutf8", b"back\\slash", b" ", b"n" * 255):
    touch(watched + b"/" + name)
long = watched + b"/./" * ((4090 - len(watched)) // 3) + b"plain"
touch(long[:4090 - 5] + b"plain" if len(long) > 4095 else long)

# In memory, and without a name.
os.close(os.memfd_create("plain"))
touch(watched, os.O_WRONLY | os.O_TMPFILE)

# What happens to names and modes.
os.chmod(watched + b"/made", 0o640)
os.chmod(b"made", 0o600, dir_fd=here)
os.truncate(watched + b"/made", 0)
os.rename(watched + b"/made", watched + b"/renamed")
os.rename(b"renamed", b"away", src_dir_fd=here)
os.rename(b"away", b"sub/../back", dst_dir_fd=here)
os.rename(watched + b"/back", watched + b"/renamed")
os.unlink(watched + b"/renamed")
touch(watched + b"/made", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.unlink(b"made", dir_fd=here)

# And what does not.
for fails in (
    lambda: os.unlink(watched + b"/missing"),
    lambda: os.unlink(watched + b"/sub"),
    lambda: os.unlink(b"plain/below", dir_fd=here),
    lambda: os.rename(watched + b"/missing", watched + b"/other"),
    lambda: os.rename(watched + b"/plain", watched + b"/sub"),
    lambda: os.rename(beside + b"/missing", watched + b"/other"),
    lambda: os.chmod(watched + b"/missing", 0o600),
    lambda: os.truncate(watched + b"/missing", 0),
    lambda: os.truncate(watched + b"/sub", 0),
):
    try:
        fails()
    except OSError:
        pass

# Another name of a file, made after it was seen by its own.
touch(watched + b"/plain")
os.link(watched + b"/plain", beside + b"/hard-later")
time.sleep(1.5)
touch(beside + b"/hard-later", os.O_RDWR)

# A folder that is gone while somebody is in it.
os.mkdir(watched + b"/gone")
os.chdir(watched + b"/gone")
os.rmdir(watched + b"/gone")
touch(b"nothing")
touch(b"../plain")
