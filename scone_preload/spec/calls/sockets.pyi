# Sockets. SO_PEERCRED shows who called listen, connect and socketpair: those are the program's own.

@host
@errno(SOCKET)
class Create:
    def socket(family: one(AF), type: flags(SOCK), protocol: int) -> new_fd: ...
    @host(exit="gate")
    @new_fd
    def socketpair(family: one(AF), type: flags(SOCK), protocol: int, sv: out[fd_pair]) -> zero: ...
    # Netlink takes the caller's pid as its address.
    @host(exit="gate")
    def bind(fd: sock, addr: in_sockaddr[addrlen], addrlen: uint) -> zero: ...
    @host(exit="gate")
    def listen(fd: sock, backlog: int) -> zero: ...
    @host(exit="gate")
    @handler
    @restarts
    def connect(fd: sock, addr: in_sockaddr[addrlen], addrlen: uint) -> zero: ...
    @handler
    @restarts
    def accept(fd: sock, addr: out_sockaddr[addrlen], addrlen: inout[socklen]) -> new_fd: ...
    @handler
    @restarts
    def accept4(fd: sock, addr: out_sockaddr[addrlen], addrlen: inout[socklen], flags: flags(SOCK)) -> new_fd: ...
    @handler
    def shutdown(fd: sock, how: one(SHUT)) -> zero: ...

@host
@errno(STREAM)
@restarts
class Transfer:
    @handler
    def sendto(fd: sock, buf: in_[size], size: size, flags: flags(MSG), addr: in_sockaddr[addrlen], addrlen: uint) -> at_most(size): ...
    @handler
    @msg_trunc
    def recvfrom(fd: sock, buf: out[size], size: size, flags: flags(MSG), addr: out_sockaddr[addrlen], addrlen: inout[socklen]) -> at_most(size): ...
    @handler
    def sendmsg(fd: sock, msg: msg_in, flags: flags(MSG)) -> at_most_sum(msg): ...
    @handler
    @msg_trunc
    @believe(message)
    def recvmsg(fd: sock, msg: msg_out, flags: flags(MSG)) -> at_most_sum(msg): ...
    # Message headers each with its own vectors, which the kernel uses in place.
    @handler
    @host(exit="gate")
    @believe(sent_messages)
    def sendmmsg(fd: sock, msgs: msgs_in[vlen], vlen: uint, flags: flags(MSG)) -> count(vlen): ...
    # Waits as only the kernel does: its timeout is looked at after each message.
    @handler
    @host(exit="gate")
    @believe(received_messages)
    def recvmmsg(fd: sock, msgs: msgs_out[vlen], vlen: uint, flags: flags(MSG), timeout: inout[timespec]) -> count(vlen): ...

@host
@errno(SOCKET)
class Inspect:
    def getsockname(fd: sock, addr: out_sockaddr[addrlen], addrlen: inout[socklen]) -> zero: ...
    def getpeername(fd: sock, addr: out_sockaddr[addrlen], addrlen: inout[socklen]) -> zero: ...
    # Options: tables/sockopt.pyi. Some hold pointers (filters), some show the caller.
    @handler
    @errno(STREAM)
    def setsockopt(fd: sock, level: one(SOL), name: int, value: in_[optlen], optlen: uint) -> zero: ...
    @handler
    @errno(STREAM)
    @believe(option)
    def getsockopt(fd: sock, level: one(SOL), name: int, value: out_sized[optlen], optlen: inout[socklen]) -> zero: ...
