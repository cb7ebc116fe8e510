//! Published vectors that more than one module's tests use.

/// One HMAC computation, all values in hexadecimal.
pub(crate) struct HmacVector {
    pub(crate) key: &'static str,
    pub(crate) data: &'static str,
    /// The output before truncation.
    pub(crate) output: &'static str,
}

/// RFC 4868 §2.7.2.1: HMAC-SHA-256 with keys of the length that IPsec uses.
pub(crate) static HMAC_SHA2_256: [HmacVector; 4] = [
    HmacVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        output: "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7",
    },
    HmacVector {
        key: "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        output: "167f928588c5cc2eef8e3093caa0e87c9ff566a14794aa61648d81621a2a40c6",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dddd",
        output: "cdcb1220d1ecccea91e53aba3092f962e549fe6ce9ed7fdc43191fbde45c30b0",
    },
    HmacVector {
        key: "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
         cdcd",
        output: "372efcf9b40b35c2115b1346903d2ef42fced46f0846e7257bb156d3d7b30d3f",
    },
];

/// RFC 4868 §2.7.2.2: HMAC-SHA-384 with keys of the length that IPsec uses.
pub(crate) static HMAC_SHA2_384: [HmacVector; 4] = [
    HmacVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        output: "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee9737a959796489bddbc4c5df61d5b3297b4fb68dab9f1b582c2",
    },
    HmacVector {
        key: "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        output: "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184da86a368e9b8e16f5349524ca4e82400cbde0686d403371c9",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dddd",
        output: "809f439be00274321d4a538652164b53554a508184a0c3160353e3428597003d35914a18770f9443987054944b7c4b4a",
    },
    HmacVector {
        key: "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f200a0b0c0d0e0f10111213141516171819",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
         cdcd",
        output: "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c2ebf182c83cc7428707fb92eab2536a5812258228bc96687",
    },
];

/// RFC 4868 §2.7.2.3: HMAC-SHA-512 with keys of the length that IPsec uses.
pub(crate) static HMAC_SHA2_512: [HmacVector; 4] = [
    HmacVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\
         0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        output: "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8ac2878ebd5803f6f0b61dbce5e251ff8\
         789a4722c1be65aea45fd464e89f8f5b",
    },
    HmacVector {
        key: "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665\
         4a6566654a6566654a6566654a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        output: "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b154546aa334ae9fb9afc2184932d8695e397b\
         fa0ffb93466cfcceaae38c833b7dba38",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dddd",
        output: "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8623c7b55cebefccf02d5581acc1c9d5f\
         b1ff68a1de45509fbe4da9a433922655",
    },
    HmacVector {
        // The RFC prints 16 octets before these, which do not belong: its outputs come from the 64 octets alone.
        key: "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30\
         3132333435363738393a3b3c3d3e3f40",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
         cdcd",
        output: "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108b8c48cbc6b807dcfbd850521a685babc\
         7eae4a2a2e660dc0e86b931d65503fd2",
    },
];

/// RFC 2202 §2: HMAC-MD5 with keys of several lengths.
pub(crate) static HMAC_MD5: [HmacVector; 7] = [
    HmacVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        output: "9294727a3638bb1c13f48ef8158bfc9d",
    },
    HmacVector {
        key: "4a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        output: "750c783e6ab0b503eaa86e310a5db738",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dddddddddd",
        output: "56be34521d144c88dbb8c733f0e8b3f6",
    },
    HmacVector {
        key: "0102030405060708090a0b0c0d0e0f10111213141516171819",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
         cdcdcdcdcd",
        output: "697eaf0aca3a3aea3a75164746ffaa79",
    },
    HmacVector {
        key: "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
        data: "546573742057697468205472756e636174696f6e",
        output: "56461ef2342edc00f9bab995690efd4c",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d204861736820\
         4b6579204669727374",
        output: "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b657920616e64204c6172\
         676572205468616e204f6e6520426c6f636b2d53697a652044617461",
        output: "6f630fad67cda0ee1fb1f562db3aa53e",
    },
];

/// RFC 2202 §3: HMAC-SHA-1 with keys of several lengths.
pub(crate) static HMAC_SHA1: [HmacVector; 7] = [
    HmacVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        output: "b617318655057264e28bc0b6fb378c8ef146be00",
    },
    HmacVector {
        key: "4a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        output: "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dddddddddd",
        output: "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
    },
    HmacVector {
        key: "0102030405060708090a0b0c0d0e0f10111213141516171819",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
         cdcdcdcdcd",
        output: "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
    },
    HmacVector {
        key: "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
        data: "546573742057697468205472756e636174696f6e",
        output: "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d204861736820\
         4b6579204669727374",
        output: "aa4ae5e15272d00e95705637ce8a3b55ed402112",
    },
    HmacVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b657920616e64204c6172\
         676572205468616e204f6e6520426c6f636b2d53697a652044617461",
        output: "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
    },
];
