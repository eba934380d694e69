# Appended to a right structs.pyi.

class empty:  # error: struct empty has no fields
    ...

class hole:  # error: implicit padding before b: write it out
    a: u32
    b: u64
    c: u32

class tail:  # error: implicit padding at the end of tail: write it out
    a: u64
    b: u8

@packed
class packed_hole:
    a: u8
    b: u64

class words:  # error: unknown field type word
    a: word

class backwards:  # error: not a range of i32
    a: i32[5, 1]

class wide:  # error: not a range of u8
    a: u8[0, 256]

class one_sided:  # error: a range is i32[low, high]
    a: i32[5]

class pair:  # error: duplicate struct pair
    first: i32[0, 9]
    second: u32
