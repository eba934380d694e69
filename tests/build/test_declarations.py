"""What the preprocessor prints becomes what cffi understands: types and numbers, functions and tables, nothing else."""

import cffi

from scone_preload.build.declarations import Declaration, cffi_text, declarations

PREPROCESSED = """\
# 1 "libshim/wire/ring.h"
# 1 "/usr/include/stdint.h" 1 3 4
typedef unsigned int uint32_t;
# 5 "libshim/wire/ring.h" 2
#define GUARD_H
#define LANE_SIZE (4ul << 20)
#define LANE_END (LANE_SIZE - 0x10u)
#define NODISCARD __attribute__((warn_unused_result))
#define fetch(x) (x)
enum kind {
 KIND_ONE = 1u << 0,
};
struct lane {
 volatile uint32_t word;

 _Bool
# 9 "libshim/wire/ring.h"
      is_free;
 uint32_t slots[(4ul << 20)];
};
_Static_assert(sizeof(struct lane) == 8, "wire");
struct door;
typedef int (*check)(const void *bytes);
extern const struct lane lanes[2];
# 3 "libshim/enclave/check.h"
struct lane;
extern struct lane hidden;
extern const struct lane lanes[2];
long check_it(uint32_t nr,
       const struct lane *lane) __attribute__((warn_unused_result));
long sys_read(struct frame *frame);
_Noreturn void die(const char *reason);
static inline const struct lane *find(uint32_t nr)
{
 if (nr) {
  return 0;
 }
 return 0;
}
"""


def test_a_declaration_is_told_with_the_header_it_begins_in() -> None:
    found = list(declarations(PREPROCESSED))
    assert Declaration("include/stdint.h", "typedef unsigned int uint32_t;") in found
    (lane,) = (one for one in found if one.text.startswith("struct lane {"))
    assert (lane.header, lane.text[-2:]) == ("wire/ring.h", "};")
    assert found[-1].text.startswith("static inline const struct lane *find")


def test_types_and_numbers_are_taken_and_code_is_not() -> None:
    text = cffi_text(PREPROCESSED, types=("wire/ring.h",), code=())
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "#define LANE_SIZE ...",
        "#define LANE_END ...",
    ]
    assert "struct door;" in text
    assert "(*check)" in text
    for word in ("volatile", "uint32_t;", "_Static_assert", "extern", "NODISCARD", "fetch"):
        assert word not in text


def test_functions_and_tables_are_taken_from_their_headers_alone() -> None:
    assert cffi_text(PREPROCESSED, types=(), code=("enclave/check.h",)).splitlines() == [
        "extern const struct lane lanes[2];",
        "long check_it(uint32_t nr, const struct lane *lane);",
        "void die(const char *reason);",
        "const struct lane *find(uint32_t nr);",
    ]


def test_cffi_understands_all_of_it() -> None:
    text = cffi_text(PREPROCESSED, types=("wire/ring.h", "enclave/check.h"), code=("enclave/check.h",))
    ffi = cffi.FFI()
    ffi.cdef(text)
    assert ffi.typeof("struct lane").fields[2][1].type.length == 4 << 20
