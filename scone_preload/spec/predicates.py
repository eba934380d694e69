"""The predicates that a row may name: what is believed of a reply and no range can say.

Each is a C function `believe_<name>` of libshim/enclave/predicates.h; a test compares the two lists.
"""

PREDICATES = frozenset(
    {
        "listing",
        "listing64",
        "message",
        "option",
        "polled",
        "received_messages",
        "selected",
        "sent_messages",
    }
)
