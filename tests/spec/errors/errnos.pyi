# Takes the place of errnos.pyi.

class Number:
    EPERM = 1
    EIO = 5
    ENOSYS = 38
    ERESTARTSYS = 512  # error: ERESTARTSYS is outside of 1..133

class Set:
    COMMON = (EPERM, EIO)
