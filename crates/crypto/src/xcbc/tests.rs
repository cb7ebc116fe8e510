use hex::decode;

use super::*;

/// RFC 3566 §4.6.
#[test]
fn xcbc_agrees_with_rfc_3566() {
    let key: Vec<u8> = (0x00..0x10).collect();
    let key = XcbcKey::new(key.as_slice().try_into().unwrap());
    let counting: Vec<u8> = (0x00..0x22).collect();
    for (message, tag) in [
        (&counting[..0], "75f0251d528ac01c4573dfd584d79f29"),
        (&counting[..3], "5b376580ae2f19afe7219ceef172756f"),
        (&counting[..16], "d2a246fa349b68a79998a4394ff7a263"),
        (&counting[..20], "47f51b4564966215b8985c63055ed308"),
        (&counting[..32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
        (&counting[..34], "becbb3bccdb518a30677d5481fb6b4d8"),
        (&[0; 1000], "f0dafee895db30253761103b5d84528f"),
    ] {
        assert_eq!(key.tag(&[message])[..], decode(tag).unwrap(), "{} octets", message.len());
    }
}

#[test]
fn the_tag_does_not_depend_on_where_the_data_is_cut() {
    let key = XcbcKey::new(&[7; 16]);
    let data: Vec<u8> = (0..50).collect();
    for len in [0, 15, 16, 17, 32, 50] {
        let data = &data[..len];
        for cut in 0..=len {
            assert_eq!(key.tag(&[&data[..cut], &data[cut..]]), key.tag(&[data]), "{len} cut at {cut}");
        }
    }
}
