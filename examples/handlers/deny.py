"""Nothing is removed: each call gets the errno that a read-only file system would give."""

from scone_preload.handlers import Answer, Call, deny, handles


@handles("unlink", "unlinkat", "rmdir")
def keep(call: Call) -> Answer:
    return deny("EROFS")
