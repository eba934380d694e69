"""The tables of docs/ring.md, "Layout": recomputed from libshim/wire/ring.h by the C compiler."""

import re
from itertools import pairwise
from pathlib import Path

from scone_preload.libshim import constant, layout

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ring.md"
KIB, MIB = 1 << 10, 1 << 20
PAGE = 4 * KIB
TIMES, TO, MINUS = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}", "\N{MINUS SIGN}"


def rows(first_heading: str) -> list[list[str]]:
    """The cells of the table whose first heading is that one."""
    table = re.search(rf"^\| {first_heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT.read_text(), re.M)
    assert table, first_heading
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[1].splitlines()]


def bytes_of(text: str) -> int:
    """A size as the table writes it: `64`, `12 KiB`, `2.25 MiB`, or a number of entries times the size of one."""
    count, _, size = text.rpartition(TIMES)
    number, _, unit = size.strip().partition(" ")
    return int(count or 1) * int(float(number) * {"": 1, "KiB": KIB, "MiB": MIB}[unit])


def fields(first: str, end: str) -> tuple[int, int]:
    """Where the fields from `first` on, up to `end`, begin, and how many bytes they have."""
    lane = layout("wire_lane").fields
    return lane[first].offset, lane[end].offset - lane[first].offset


def entries(field: str, struct: str, count: str) -> tuple[int, int]:
    """Where an array of a lane begins, and its bytes by the size of an entry."""
    place = layout("wire_lane").fields[field]
    assert place.size == constant(count) * layout(struct).size
    return place.offset, place.size


def areas() -> list[tuple[int, int]]:
    """The lane's table, from the header."""
    return [
        fields("request", "done"),
        fields("done", "post_head"),
        fields("post_head", "post_tail"),
        fields("post_tail", "backlog"),
        entries("backlog", "wire_backlog", "BACKLOG_COUNT"),
        entries("ahead", "wire_ahead", "AHEAD_COUNT"),
        entries("batch", "wire_batch_entry", "BATCH_COUNT_MAX"),
        entries("post", "wire_post", "POST_COUNT"),
        (constant("LANE_URING"), constant("LANE_STACK") - constant("LANE_URING") - PAGE),
        (constant("LANE_STACK"), constant("LANE_STACK_TOP") - constant("LANE_STACK")),
        (constant("LANE_POST_BYTES"), constant("POST_BYTES")),
        (constant("LANE_BACKLOG"), constant("BACKLOG_COUNT") * constant("BACKLOG_BYTES")),
        (constant("LANE_AHEAD"), constant("AHEAD_COUNT") * constant("AHEAD_SIZE")),
        (constant("LANE_DATA"), constant("LANE_DATA_SIZE")),
    ]


def test_the_table_of_a_lane_is_the_headers() -> None:
    told = [(row[0].partition(TO)[0], bytes_of(row[1])) for row in rows("in a lane")]
    assert told == [(hex(at), size) for at, size in areas()]


def test_counts_and_sizes_of_entries_are_told_apart() -> None:
    products = [row[1].split(f" {TIMES} ") for row in rows("in a lane") if TIMES in row[1]]
    structs = ("wire_backlog", "wire_ahead", "wire_batch_entry", "wire_post")
    counts = ("BACKLOG_COUNT", "AHEAD_COUNT", "BATCH_COUNT_MAX", "POST_COUNT", "BACKLOG_COUNT", "AHEAD_COUNT")
    sizes = (*(layout(struct).size for struct in structs), constant("BACKLOG_BYTES"), constant("AHEAD_SIZE"))
    assert [int(count) for count, _ in products] == [constant(count) for count in counts]
    assert [bytes_of(size) for _, size in products] == list(sizes)


def test_the_stack_ends_where_the_table_says() -> None:
    (stack,) = (row[0] for row in rows("in a lane") if TO in row[0])
    assert stack == f"{constant('LANE_STACK'):#x}{TO}{constant('LANE_STACK_TOP'):#x}"


def test_the_areas_of_a_lane_follow_each_other_and_end_with_it() -> None:
    ends = [(at, at + size) for at, size in areas()]
    assert all(end <= after for (_, end), (after, _) in pairwise(ends))
    assert ends[-1][1] == constant("LANE_SIZE")


def test_the_table_of_the_ring_is_the_headers() -> None:
    control, stacks, lanes = rows("in the ring")
    marks = layout("wire_control").fields["fd_marks"]
    assert control[0] == "0"
    assert f"marks of {constant('FD_MARK_COUNT')} descriptors at {marks.offset:#x}" in control[1]
    assert marks.size == constant("FD_MARK_COUNT")
    assert stacks[0] == f"{constant('CONTROL_STACK_TOP'):#x}, {constant('STARTER_STACK_TOP'):#x}"
    assert lanes[0] == f"(n + 1) {TIMES} {constant('LANE_SIZE'):#x}"


def test_the_sizes_that_the_text_names_are_the_headers() -> None:
    text = " ".join(DOCUMENT.read_text().split())
    assert f"(lanes + 1) {TIMES} {constant('LANE_SIZE') // MIB} MiB" in text
    assert f"{constant('LANE_COUNT_MAX')} lanes, or" in text
    assert f"at most {constant('BACKLOG_BYTES') // KIB} KiB, which the control thread sends" in text
    assert f"at most {constant('URING_COUNT_MAX')} by each" in text
    assert f"(result {MINUS}{-constant('RING_NOT_BEGUN')}: not begun)" in text
