"""Names of the algorithms in IKE proposals, spelled as operators write them in server configurations."""

from __future__ import annotations

from enum import IntEnum


class TransformType(IntEnum):
    """What a transform chooses (RFC 7296 section 3.3.2; the additional key exchanges are RFC 9370)."""

    ENCRYPTION = 1
    PRF = 2
    INTEGRITY = 3
    KEY_EXCHANGE = 4
    ESN = 5
    ADDITIONAL_KEY_EXCHANGE_1 = 6
    ADDITIONAL_KEY_EXCHANGE_7 = 12


# "{}" is where the key length in bits stands; an algorithm of one key length has none.
_ENCRYPTION = {
    1: "des-iv64",
    2: "des",
    3: "3des",
    4: "rc5{}",
    5: "idea",
    6: "cast{}",
    7: "blowfish{}",
    8: "3idea",
    9: "des-iv32",
    11: "null",
    12: "aes{}",
    13: "aes{}ctr",
    14: "aes{}ccm8",
    15: "aes{}ccm12",
    16: "aes{}ccm16",
    18: "aes{}gcm8",
    19: "aes{}gcm12",
    20: "aes{}gcm16",
    21: "aes{}gmac",
    23: "camellia{}",
    24: "camellia{}ctr",
    25: "camellia{}ccm8",
    26: "camellia{}ccm12",
    27: "camellia{}ccm16",
    28: "chacha20poly1305",
}
_PRF = {
    1: "prfmd5",
    2: "prfsha1",
    3: "prftiger",
    4: "prfaesxcbc",
    5: "prfsha256",
    6: "prfsha384",
    7: "prfsha512",
    8: "prfaescmac",
}
_INTEGRITY = {
    0: "none",
    1: "md5",
    2: "sha1",
    3: "desmac",
    4: "kpdkmd5",
    5: "aesxcbc",
    6: "md5_128",
    7: "sha1_160",
    8: "aescmac",
    9: "aes128gmac",
    10: "aes192gmac",
    11: "aes256gmac",
    12: "sha256",
    13: "sha384",
    14: "sha512",
}
_KEY_EXCHANGE = {
    0: "none",
    1: "modp768",
    2: "modp1024",
    5: "modp1536",
    14: "modp2048",
    15: "modp3072",
    16: "modp4096",
    17: "modp6144",
    18: "modp8192",
    19: "ecp256",
    20: "ecp384",
    21: "ecp521",
    22: "modp1024s160",
    23: "modp2048s224",
    24: "modp2048s256",
    25: "ecp192",
    26: "ecp224",
    27: "ecp224bp",
    28: "ecp256bp",
    29: "ecp384bp",
    30: "ecp512bp",
    31: "x25519",
    32: "x448",
    35: "mlkem512",
    36: "mlkem768",
    37: "mlkem1024",
}
_ESN = {0: "noesn", 1: "esn"}


def key_exchange_name(group: int) -> str:
    """Name a key exchange method ("x25519", "modp2048"); an unknown one is "ke" and its number."""
    return _KEY_EXCHANGE.get(group, f"ke{group}")


def transform_name(transform_type: int, transform_id: int, key_bits: int) -> str:
    """Name a transform ("aes128gcm16", "prfsha256"); `key_bits` is 0 where no key length was given."""
    match transform_type:
        case TransformType.ENCRYPTION:
            name = _ENCRYPTION.get(transform_id, f"encr{transform_id}_{{}}" if key_bits else f"encr{transform_id}")
            return name.format(key_bits or "")
        case TransformType.PRF:
            return _PRF.get(transform_id, f"prf{transform_id}")
        case TransformType.INTEGRITY:
            return _INTEGRITY.get(transform_id, f"integ{transform_id}")
        case TransformType.KEY_EXCHANGE:
            return key_exchange_name(transform_id)
        case TransformType.ESN:
            return _ESN.get(transform_id, f"esn{transform_id}")
    first, last = TransformType.ADDITIONAL_KEY_EXCHANGE_1, TransformType.ADDITIONAL_KEY_EXCHANGE_7
    if first <= transform_type <= last:
        return f"ke{transform_type - first + 1}_{key_exchange_name(transform_id)}"
    return f"transform{transform_type}_{transform_id}"
