use super::*;

/// FIPS 180-4's example "abc", in parts.
#[test]
fn digests_agree_with_fips_180_4() {
    let sha2_384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
        8086072ba1e7cc2358baeca134c825a7";
    let sha2_512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    for (hash, expected) in [
        (SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (SHA2_256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (SHA2_384, sha2_384),
        (SHA2_512, sha2_512),
    ] {
        assert_eq!(hex::encode(hash.digest(&[b"a", b"", b"bc"])), expected, "{hash:?}");
        assert_eq!(hash.output_len(), expected.len() / 2, "{hash:?}");
    }
}

/// RFC 1321, appendix A.5.
#[test]
fn md5_agrees_with_rfc_1321() {
    for (message, digest) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ] {
        let (start, rest) = message.as_bytes().split_at(message.len() / 3);
        assert_eq!(hex::encode(MD5.digest(&[start, rest])), digest);
        assert_eq!(MD5.output_len(), digest.len() / 2);
    }
}
