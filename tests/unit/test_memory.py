from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, sys, threading
from modelyard.memory import share_heap
if sys.argv[1:]:
    share_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p
barrier = threading.Barrier(4)
def allocate():
    barrier.wait(10)
    libc.malloc(ctypes.c_size_t(1000))
    barrier.wait(10)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def heaps(*arguments: str) -> int:
    """How many heaps a process has of which four threads have allocated."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.count("<heap nr=")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="it is glibc's"
)
def test_all_threads_allocate_from_one_heap() -> None:
    assert heaps() > 1
    assert heaps("shared") == 1
