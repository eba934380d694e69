# Appended to a right spec as calls/wrong.pyi; every name but `unnumbered` has a number.

@host
@errno(COMMON)
class Arguments:
    def a1(fd: fd, buf: bytes, count: size) -> zero: ...  # error: buf: unknown type bytes
    def a2(buf: out[count]) -> zero: ...  # error: buf: count is neither an argument nor a struct
    def a3(buf: out) -> zero: ...  # error: buf: out takes the argument that counts it, a struct, or both
    def a4(buf: out[count, trio], count: size) -> count(count): ...  # error: buf: unknown struct trio
    def a5(flags: flags(NOSUCH)) -> zero: ...  # error: flags: no table of names NOSUCH
    def a6(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> zero: ...  # error: 7 arguments, there are 6 registers
    def a7(cmd: 5) -> zero: ...  # error: a number as a type belongs in a command table
    def a8(buf: in_[path], path: path) -> zero: ...  # error: buf: what counts it must be a number
    def a9(addr: out_sockaddr[size], size: uint) -> zero: ...  # error: addr: what counts it must be an inout[socklen]
    def b1(buf: in_[size], size: inout[socklen]) -> zero: ...  # error: buf: what counts it must be a number
    def b3(a: int, a: int) -> zero: ...  # error: duplicate argument a
    def b2(addr: address) -> zero: ...  # error: addr is an address, so the row needs @host(exit="gate")
    def b4(msgs: msgs_out[n], n: uint) -> count(n): ...  # error: msgs is an array of addresses, so the row needs @host(exit="gate")
    def b5(pairs: inout[n, pair, third], n: uint) -> count(n): ...  # error: pairs: struct pair has no number third
    def b6(pairs: out[n, pair, first], n: uint) -> count(n): ...  # error: pairs: only of an inout array a single field comes back, this is out[n, pair, first]

@host
@errno(COMMON)
class Results:
    def c1(fd: fd): ...  # error: c1 says nothing of its result
    def c2(fd: fd) -> maybe: ...  # error: unknown result maybe
    def c3(fd: fd) -> at_most(count): ...  # error: count is neither an argument nor a struct
    def c4(buf: out[size], size: size, other: size) -> at_most(other): ...  # error: the result is bounded by other, which doesn't count the out buffer
    def c5(buf: out[size], size: size) -> any: ...  # error: fills a counted buffer, but its result says nothing of how much
    def c6(buf: out[size], size: size) -> at_most_sum(size): ...  # error: at_most_sum can't be bounded by size: size
    def c7(vec: iovec_out[n], n: ulong) -> at_most(vec): ...  # error: at_most can't be bounded by vec: iovec_out
    @size_query
    def c8(fd: fd) -> zero: ...  # error: @msg_trunc and @size_query loosen a bounded result; this one has no bound

class Decorators:
    @errno(COMMON)
    def d1() -> zero: ...  # error: d1 has no route
    @inside
    def d2() -> zero: ...  # error: d2 has no errno set
    @inside
    @errno(NOSUCH)
    def d3() -> zero: ...  # error: unknown errno NOSUCH
    @sideways
    @errno(COMMON)
    def d4() -> zero: ...  # error: unknown decorator @sideways
    @deny("no reason to")
    def d5() -> zero: ...  # error: denied rows say @deny("reason", "ERRNO")
    @deny("no", "ENOSUCH")
    def d6() -> zero: ...  # error: unknown errno ENOSUCH
    @host(exit="door")
    @errno(COMMON)
    def d7() -> zero: ...  # error: @host takes nothing but, if it is @host, exit="gate"
    @host
    @errno(COMMON)
    @believe(nosuch)
    def d9(fd: fd) -> zero: ...  # error: unknown predicate nosuch
    @host
    @errno(COMMON)
    @believe("polled")
    def e1(fd: fd) -> zero: ...  # error: @believe takes the name of one predicate
    @host
    @errno(COMMON)
    @believe(polled, selected)
    def e2(fd: fd) -> zero: ...  # error: @believe takes the name of one predicate
    @inside
    @errno(COMMON)
    @believe(polled)
    def e3(fd: fd) -> zero: ...  # error: @believe is for rows with @host: no other reply is checked
    @inside(exit="gate")
    @errno(COMMON)
    def d8() -> zero: ...  # error: @inside takes nothing but, if it is @host, exit="gate"

@inside
@errno(COMMON)
class Numbers:
    def unnumbered() -> zero: ...  # error: unnumbered has no number
    def read() -> zero: ...  # error: duplicate row read
    def right() -> zero: ...
