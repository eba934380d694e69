"""The structures of libshim/wire/control.h, field by field; a test compares every size and offset."""

import struct

# name -> its fields with their struct codes. All are packed as written: control.h leaves no implicit padding.
# fmt: off
LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "ctl_header": (("magic", "I"), ("type", "H"), ("flags", "H"), ("size", "I"), ("pid", "i"), ("tid", "i"),
                   ("reserved", "I")),
    "ctl_hello": (("header", "24s"), ("shim_id", "Q"), ("nonce", "Q"), ("flags", "I"), ("maps_size", "I")),
    "ctl_hello_answer": (("error", "i"), ("policy_size", "I"), ("file_count", "I"), ("volume_count", "I")),
    "ctl_volume": (("flags", "I"), ("reserved", "I"), ("arena_size", "Q")),
    "ctl_hello_file": (("fd", "i"), ("flags", "I"), ("offset", "Q"), ("size", "Q"), ("number", "Q"), ("seconds", "q"),
                       ("mode", "I"), ("uid", "I"), ("gid", "I"), ("same_as", "I")),
    "ctl_keep": (("header", "24s"), ("count", "I"), ("reserved", "I")),
    "ctl_kept": (("fd", "i"), ("flags", "I"), ("offset", "Q"), ("number", "Q"), ("same_as", "I"), ("reserved", "I")),
    "ctl_exec": (("header", "24s"), ("dirfd", "i"), ("at_flags", "I")),
    "ctl_exec_answer": (("error", "i"), ("flags", "I"), ("nonce", "Q")),
    "ctl_sites": (("header", "24s"), ("offset", "Q"), ("length", "Q")),
    "ctl_sites_answer": (("count", "I"), ("reserved", "I")),
    "ctl_text_answer": (("size", "I"),),
    "ctl_trace": (("header", "24s"), ("nr", "I"), ("door", "I"), ("route", "I"), ("exit", "I"), ("args", "6Q"),
                  ("result", "q"), ("ns", "Q"), ("string_count", "I"), ("reserved", "I")),
    "ctl_trace_string": (("arg", "B"), ("kind", "B"), ("size", "H")),
    "ctl_event": (("header", "24s"), ("kind", "I"), ("nr", "I")),
    "ctl_helper": (("header", "24s"), ("helper_pid", "i"), ("reserved", "I")),
    "ctl_call": (("header", "24s"), ("nr", "I"), ("flags", "I"), ("args", "6Q"), ("string_count", "I"),
                 ("reserved", "I")),
    "ctl_call_answer": (("verdict", "I"), ("string_count", "I"), ("result", "q"), ("file_size", "Q"),
                        ("file_number", "Q"), ("file_seconds", "q"), ("file_mode", "I"), ("file_uid", "I"),
                        ("file_gid", "I"), ("scope", "I")),
    "wire_stats": (("calls_by_door", "4Q"), ("calls_by_exit", "2Q"), ("calls_by_route", "4Q"), ("denied", "Q"),
                   ("refused_replies", "Q"), ("bytes_out", "Q"), ("bytes_in", "Q"), ("turns", "Q"),
                   ("crossings", "Q"), ("ring_spun", "Q"), ("ring_slept", "Q"), ("ring_writes_behind", "Q"),
                   ("ring_reads_ahead", "Q"), ("ring_by_uring", "Q"), ("signals_deferred", "Q"), ("processes", "Q"),
                   ("threads", "Q"), ("execs", "Q"), ("calls", "512Q")),
}
# fmt: on


def layout(name: str) -> struct.Struct:
    """Return the packing of a structure of control.h."""
    return struct.Struct("<" + "".join(code for _, code in LAYOUTS[name]))
