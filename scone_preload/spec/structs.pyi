# Structures that cross, field by field in the kernel's x86-64 layout: no implicit padding (it is written out).
# A range in brackets is what a reply may hold; no range: any value is harmless. text(n) must hold a NUL.

class i32_value:
    value: i32

class u32_value:
    value: u32

class i64_value:
    value: i64

class u64_value:
    value: u64

class u16_value:
    value: u16

class u8_value:
    value: u8

class boolean:
    value: i32[0, 1]

class count31:
    value: i32[0, 0x7fffffff]

class fd_value:
    value: i32[-1, 0x7fffffff]

class pid_value:
    value: i32[0, 0x400000]

class timespec:
    tv_sec: i64
    tv_nsec: i64[0, 999_999_999]

class timeval:
    tv_sec: i64
    tv_usec: i64[0, 999_999]

class timespecs:
    old: timespec
    new: timespec

class timevals:
    old: timeval
    new: timeval

class utimbuf:
    actime: i64
    modtime: i64

class itimerval:
    it_interval: timeval
    it_value: timeval

class itimerspec:
    it_interval: timespec
    it_value: timespec

class timezone:
    tz_minuteswest: i32
    tz_dsttime: i32

class timeval_or_nanos:
    tv_sec: i64
    tv_usec: i64[0, 999_999_999]

class timex:
    modes: u32
    pad0: u32
    offset: i64
    freq: i64
    maxerror: i64
    esterror: i64
    status: i32
    pad1: u32
    constant: i64
    precision: i64
    tolerance: i64
    time: timeval_or_nanos
    tick: i64
    ppsfreq: i64
    jitter: i64
    shift: i32
    pad2: u32
    stabil: i64
    jitcnt: i64
    calcnt: i64
    errcnt: i64
    stbcnt: i64
    tai: i32
    reserved: opaque(44)

class tms:
    tms_utime: i64
    tms_stime: i64
    tms_cutime: i64
    tms_cstime: i64

class stat:
    st_dev: u64
    st_ino: u64
    st_nlink: u64
    st_mode: u32[0, 0o177777]
    st_uid: u32
    st_gid: u32
    pad0: u32
    st_rdev: u64
    st_size: i64[0, 0x7fffffffffffffff]
    st_blksize: i64[0, 0x40000000]
    st_blocks: i64[0, 0x7fffffffffffffff]
    st_atim: timespec
    st_mtim: timespec
    st_ctim: timespec
    unused: opaque(24)

class statx_timestamp:
    tv_sec: i64
    tv_nsec: u32[0, 999_999_999]
    pad0: i32

class statx:
    stx_mask: u32
    stx_blksize: u32[0, 0x40000000]
    stx_attributes: u64
    stx_nlink: u32
    stx_uid: u32
    stx_gid: u32
    stx_mode: u16
    spare0: u16
    stx_ino: u64
    stx_size: u64[0, 0x7fffffffffffffff]
    stx_blocks: u64[0, 0x7fffffffffffffff]
    stx_attributes_mask: u64
    stx_atime: statx_timestamp
    stx_btime: statx_timestamp
    stx_ctime: statx_timestamp
    stx_mtime: statx_timestamp
    stx_rdev_major: u32
    stx_rdev_minor: u32
    stx_dev_major: u32
    stx_dev_minor: u32
    stx_mnt_id: u64
    stx_dio_mem_align: u32
    stx_dio_offset_align: u32
    spare1: opaque(96)

class statfs:
    f_type: i64
    f_bsize: i64[0, 0x7fffffff]
    f_blocks: u64
    f_bfree: u64
    f_bavail: u64
    f_files: u64
    f_ffree: u64
    f_fsid: u64
    f_namelen: i64[0, 0x7fffffff]
    f_frsize: i64[0, 0x7fffffff]
    f_flags: i64
    spare: opaque(32)

class ustat:
    f_tfree: u32
    pad0: u32
    f_tinode: u64
    f_fname: opaque(6)
    f_fpack: opaque(6)
    pad1: u32

class flock:
    l_type: i16[0, 2]
    l_whence: i16[0, 2]
    pad0: u32
    l_start: i64
    l_len: i64
    l_pid: i32
    pad1: u32

class f_owner_ex:
    type: i32[0, 2]
    pid: i32

class open_how:
    flags: u64
    mode: u64
    resolve: u64

class cachestat_range:
    off: u64
    len: u64

class cachestat:
    nr_cache: u64
    nr_dirty: u64
    nr_writeback: u64
    nr_evicted: u64
    nr_recently_evicted: u64

class file_attr:
    fa_xflags: u64
    fa_extsize: u32
    fa_nextents: u32
    fa_projid: u32
    fa_cowextsize: u32

class fd_pair:
    first: i32[0, 0x7fffffff]
    second: i32[0, 0x7fffffff]

class pollfd:
    fd: i32
    events: i16
    revents: bits(u16, 0xffff)

@packed
class epoll_event:
    events: bits(u32, 0x3fff)
    data: u64

class linger:
    l_onoff: i32
    l_linger: i32

class ucred:
    pid: i32[0, 0x400000]
    uid: u32
    gid: u32

class mmsghdr:
    msg_hdr: opaque(56)
    msg_len: u32
    pad0: u32

class tcp_info_head:
    tcpi_state: u8[0, 15]

class rusage:
    ru_utime: timeval
    ru_stime: timeval
    ru_maxrss: i64
    ru_ixrss: i64
    ru_idrss: i64
    ru_isrss: i64
    ru_minflt: i64
    ru_majflt: i64
    ru_nswap: i64
    ru_inblock: i64
    ru_oublock: i64
    ru_msgsnd: i64
    ru_msgrcv: i64
    ru_nsignals: i64
    ru_nvcsw: i64
    ru_nivcsw: i64

class rlimit:
    rlim_cur: u64
    rlim_max: u64

class sysinfo:
    uptime: i64
    loads0: u64
    loads1: u64
    loads2: u64
    totalram: u64
    freeram: u64
    sharedram: u64
    bufferram: u64
    totalswap: u64
    freeswap: u64
    procs: u16
    pad0: u16
    pad1: u32
    totalhigh: u64
    freehigh: u64
    mem_unit: u32[1, 0x7fffffff]
    pad2: u32

class utsname:
    sysname: text(65)
    nodename: text(65)
    release: text(65)
    version: text(65)
    machine: text(65)
    domainname: text(65)

class sigset:
    bits: u64

class sigaction:
    sa_handler: u64
    sa_flags: u64
    sa_restorer: u64
    sa_mask: u64

class stack:
    ss_sp: u64
    ss_flags: i32
    pad0: u32
    ss_size: u64

class siginfo:
    si_signo: i32[0, 64]
    si_errno: i32
    si_code: i32
    pad0: u32
    fields: opaque(112)

class sigevent:
    sigev_value: u64
    sigev_signo: i32
    sigev_notify: i32
    fields: opaque(48)

class sigset_and_size:
    set: u64
    size: u64

class sched_param:
    sched_priority: i32[0, 99]

class sched_attr:
    size: u32
    sched_policy: u32
    sched_flags: u64
    sched_nice: i32
    sched_priority: u32
    sched_runtime: u64
    sched_deadline: u64
    sched_period: u64
    sched_util_min: u32
    sched_util_max: u32

class cap_header:
    version: u32
    pid: i32

class cap_data:
    effective0: u32
    permitted0: u32
    inheritable0: u32
    effective1: u32
    permitted1: u32
    inheritable1: u32

class id_triple_member:
    id: u32

class mq_attr:
    mq_flags: i64
    mq_maxmsg: i64[0, 0x7fffffff]
    mq_msgsize: i64[0, 0x7fffffff]
    mq_curmsgs: i64[0, 0x7fffffff]
    reserved: opaque(32)

class sembuf:
    sem_num: u16
    sem_op: i16
    sem_flg: i16

class file_dqblk:
    fields: opaque(72)

class termios:
    c_iflag: u32
    c_oflag: u32
    c_cflag: u32
    c_lflag: u32
    c_line: u8
    c_cc: opaque(19)

class termios2:
    c_iflag: u32
    c_oflag: u32
    c_cflag: u32
    c_lflag: u32
    c_line: u8
    c_cc: opaque(19)
    c_ispeed: u32
    c_ospeed: u32

class winsize:
    ws_row: u16
    ws_col: u16
    ws_xpixel: u16
    ws_ypixel: u16

class ifreq:
    ifr_name: text(16)
    ifr_fields: opaque(24)

class fsxattr:
    fsx_xflags: u32
    fsx_extsize: u32
    fsx_nextents: u32
    fsx_projid: u32
    fsx_cowextsize: u32
    pad0: opaque(8)

class file_clone_range:
    src_fd: i64
    src_offset: u64
    src_length: u64
    dest_offset: u64

class statmount_request:
    size: u32
    spare: u32
    mnt_id: u64
    param: u64
    mnt_ns_id: u64

class landlock_ruleset:
    handled_access_fs: u64
    handled_access_net: u64
    scoped: u64

class comm:
    name: text(16)

class long_result:
    value: i64

class uid_pair:
    real: u32
    effective: u32

class errno_value:
    value: i32[0, 133]

class opaque16:
    value: opaque(16)
