"""The one way in which the keystore encrypts, and how a slot's secret becomes a key.

Every sealed thing has a key of its own: HKDF-SHA256 of its parent key with 32 random bytes of salt, drawn anew each
time it is sealed, and a label. A key therefore encrypts one message, ever, and AES-256-GCM's nonce can be constant;
no counter has to survive a crash or a restored backup, and no bound on the number of changes follows.

Where `cryptography` can write into a buffer of ours, plain keys never become Python `bytes`.
"""

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scone_preload.errors import KeystoreDamaged, MachineLacks
from scone_preload.keys.format import KEY_SIZE, TAG_SIZE, Cost, Kdf

NONCE = bytes(12)
LABEL_SLOT, LABEL_BODY, LABEL_ENTRY = b"scone-keys slot 1", b"scone-keys body 1", b"scone-keys entry 1"
LABEL_ANCHOR = b"scone-keys anchor 1 "  # and the volume's id
KIB_MAX = 1 << 20  # of memory that a file may ask for
KIB_PASSES_MAX = 4 << 20
ARGON2ID = Cost(Kdf.ARGON2ID, 64 << 10, 3, 4)  # RFC 9106's second recommendation
SCRYPT = Cost(Kdf.SCRYPT, 16, 8, 1)

Bytes = bytes | bytearray | memoryview
__all__ = ["InvalidTag", "derive", "digest", "has_tag", "new_cost", "seal", "stretch", "tag", "unseal", "unseal_into"]


def derive(parent: Bytes, salt: bytes, label: bytes) -> bytearray:
    """Return 32 bytes that only who has `parent` can compute; wipe them after use."""
    key = bytearray(KEY_SIZE)
    hkdf = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=label)
    if hasattr(hkdf, "derive_into"):
        hkdf.derive_into(parent, key)
    else:
        key[:] = hkdf.derive(parent)
    return key


def seal(parent: Bytes, salt: bytes, label: bytes, bound: bytes, plain: Bytes) -> bytes:
    """Return `plain` encrypted and authenticated together with `bound`; `salt` must be fresh random bytes."""
    key = derive(parent, salt, label)
    try:
        return AESGCM(key).encrypt(NONCE, plain, bound)
    finally:
        key[:] = bytes(KEY_SIZE)


def unseal_into(parent: Bytes, salt: bytes, label: bytes, bound: bytes, sealed: bytes, out: memoryview) -> None:
    """Decrypt into `out`, which is 16 bytes shorter than `sealed`; raise InvalidTag, with `out` zeroed."""
    key = derive(parent, salt, label)
    try:
        cipher = AESGCM(key)
        if hasattr(cipher, "decrypt_into"):
            cipher.decrypt_into(NONCE, sealed, bound, out)
        else:
            out[:] = cipher.decrypt(NONCE, sealed, bound)
    except InvalidTag:
        out[:] = bytes(len(out))
        raise
    finally:
        key[:] = bytes(KEY_SIZE)


def unseal(parent: Bytes, salt: bytes, label: bytes, bound: bytes, sealed: bytes) -> bytes:
    """Decrypt what is no key; raise InvalidTag."""
    out = bytearray(len(sealed) - TAG_SIZE)
    unseal_into(parent, salt, label, bound, sealed, memoryview(out))
    return bytes(out)


def tag(key: Bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return _mac(key, message).finalize()


def has_tag(key: Bytes, message: bytes, found: bytes) -> bool:
    """True if `found` is the message's tag; takes the same time whatever differs."""
    try:
        _mac(key, message).verify(found)
    except InvalidSignature:
        return False
    return True


def digest(message: bytes) -> bytes:
    """SHA-256."""
    state = Hash(SHA256())
    state.update(message)
    return state.finalize()


def new_cost() -> Cost:
    """What a new passphrase slot costs: Argon2id where this `cryptography` has it, else scrypt."""
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # lazy: versions before 44 have none

        Argon2id(salt=bytes(16), length=KEY_SIZE, iterations=1, lanes=1, memory_cost=8)
    except (ImportError, UnsupportedAlgorithm):
        return SCRYPT
    return ARGON2ID


def check_cost(cost: Cost, where: str) -> None:
    """Refuse what would take more than 1 GiB or some seconds, whoever wrote it; raise KeystoreDamaged."""
    if cost.kdf == Kdf.ARGON2ID:
        memory, passes = cost.memory, cost.passes
        right = 1 <= cost.lanes <= 64 and memory >= 8 * cost.lanes and passes >= 1
    else:
        memory, passes = ((cost.passes << cost.memory) >> 3, cost.lanes) if 1 <= cost.memory <= 24 else (0, 0)
        right = 1 <= cost.passes <= 64 and 1 <= cost.lanes <= 64 and memory >= 1
    if not right or memory > KIB_MAX or memory * passes > KIB_PASSES_MAX:
        rule = "keystore asks for an impossible or ruinous key derivation"
        raise KeystoreDamaged(rule, where, "restore a backup: scone-keys restore FILE --replace")


def stretch(cost: Cost, salt: bytes, passphrase: bytes) -> bytes:
    """Return the key of a passphrase; slow and memory-hard on purpose. `cost` has been checked."""
    if cost.kdf == Kdf.SCRYPT:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # lazy: only where a passphrase is used

        return Scrypt(salt=salt, length=KEY_SIZE, n=1 << cost.memory, r=cost.passes, p=cost.lanes).derive(passphrase)
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # lazy: as above

        how = Argon2id(salt=salt, length=KEY_SIZE, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory)
    except (ImportError, UnsupportedAlgorithm) as error:
        remedy = "install cryptography 44 or newer with OpenSSL 3.2 or newer"
        raise MachineLacks("this keystore needs Argon2id", str(error), remedy) from None
    return how.derive(passphrase)


def _mac(key: Bytes, message: bytes) -> HMAC:
    mac = HMAC(key, SHA256())
    mac.update(message)
    return mac
