"""Searches for what was planted: in a process's memory, and in files."""
import array
import base64
import os
import re

PAGE = os.sysconf("SC_PAGE_SIZE")


class NotSearchable(Exception):
    """Why the memory of a process cannot be read here."""


def forms(marker):
    """What betrays the marker: a piece of it, as it is, in hex, and in base64 at each of its three alignments.

    Pieces, because a freed buffer keeps only a part of what it held.
    """
    found = set()
    for begin in range(0, len(marker) - 23, 24):
        piece = marker[begin:begin + 24]
        found |= {piece, piece.hex().encode(), piece.hex().upper().encode()}
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + piece)
            # The characters that depend on the piece alone.
            inner = text[4 if shift else 0:len(text) - (len(text) % 4 or 4)]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in found if len(form) >= 16}


def regions(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            begin, end, mode, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)", line).groups()
            size = int(end, 16) - int(begin, 16)
            if mode.startswith("r") and name not in ("[vvar]", "[vsyscall]"):
                if size > 1 << 34:
                    raise NotSearchable("this build has the shadow memory of a sanitizer")
                yield int(begin, 16), size, name


def touched(pagemap, begin, size):
    """(begin, size) of the runs of pages in a region that are in memory or swapped out; others hold nothing of the process.

    An allocator may have reserved a gigabyte that it never used.
    """
    pagemap.seek(begin // PAGE * 8)
    entries = array.array("Q", pagemap.read(size // PAGE * 8))
    first = None
    for number, entry in enumerate(entries):
        if entry >> 62:  # bit 63: present, bit 62: swapped (Linux, Documentation/admin-guide/mm/pagemap.rst)
            first = number if first is None else first
        elif first is not None:
            yield begin + first * PAGE, (number - first) * PAGE
            first = None
    if first is not None:
        yield begin + first * PAGE, (len(entries) - first) * PAGE


def found_in_memory(pid, needles):
    """[(needle, region)] of the needles that the process's readable memory holds."""
    hits = []
    try:
        memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
        pagemap = open(f"/proc/{pid}/pagemap", "rb", buffering=0)
    except PermissionError:
        raise NotSearchable("reading another process's memory takes root") from None
    with memory, pagemap:
        for region, whole, name in list(regions(pid)):
            for begin, size in touched(pagemap, region, whole):
                content = read_region(memory, begin, size)
                hits += [(needle, f"{begin + content.find(needle):#x} {name}") for needle in needles if needle in content]
    return hits


def read_region(memory, begin, size):
    content = bytearray()
    while len(content) < size:
        try:
            memory.seek(begin + len(content))
            piece = memory.read(min(size - len(content), 1 << 24))
        except OSError:
            break  # unmapped meanwhile, or of a device
        if not piece:
            break
        content += piece
    return bytes(content)


def found_in_files(folder, needles, except_names=()):
    """[(needle, file)] below the folder, by content and by name."""
    hits = []
    for here, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)
            if name in except_names or not os.path.isfile(path):
                continue
            try:
                with open(path, "rb") as file:
                    content = file.read() + b"\0" + path.encode()
            except FileNotFoundError:
                continue  # removed meanwhile
            hits += [(needle, path) for needle in needles if needle in content]
    return hits
